//! Bound pods over time as SVG: one line for each workload, from the barrier to its last pod.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 50.0;
/// Room for the legend.
const RIGHT: f64 = 290.0;
/// Colours that people with colour blindness tell apart (Okabe and Ito), then again with dashes.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999",
];

pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    /// Milliseconds and pods.
    pub(crate) points: &'a [(f64, usize)],
}

pub(crate) fn svg(series: &[Series<'_>]) -> String {
    let last = |one: &Series<'_>| one.points.last().copied().unwrap_or_default();
    let longest = series.iter().map(|one| last(one).0).fold(1.0, f64::max);
    let most = series.iter().map(|one| last(one).1).max().unwrap_or(1);
    let (x_step, y_step) = (nice(longest / 1000.0 / 6.0), nice(most as f64 / 6.0));
    let x = |seconds: f64| LEFT + seconds / (longest / 1000.0) * (WIDTH - LEFT - RIGHT);
    let y = |pods: f64| HEIGHT - BOTTOM - pods / most as f64 * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let (right, bottom) = (x(longest / 1000.0), y(0.0));
    for at in steps(longest / 1000.0, x_step) {
        let (place, low) = (x(at), bottom + 18.0);
        let _ = writeln!(
            out,
            "<path d=\"M{place:.1} {TOP}V{bottom:.1}\" stroke=\"#e5e5e5\"/><text x=\"{place:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{}</text>",
            tick(at)
        );
    }
    for at in steps(most as f64, y_step) {
        let (place, left) = (y(at), LEFT - 8.0);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {place:.1}H{right:.1}\" stroke=\"#e5e5e5\"/><text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            place + 4.0,
            tick(at)
        );
    }
    let _ = writeln!(
        out,
        "<path d=\"M{LEFT} {TOP}V{bottom:.1}H{right:.1}\" fill=\"none\" stroke=\"black\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">seconds after the barrier</text>\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">pods bound</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 10.0,
        (TOP + bottom) / 2.0,
    );
    for (number, one) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let dash = [
            "",
            " stroke-dasharray=\"6 3\"",
            " stroke-dasharray=\"2 2\"",
            " stroke-dasharray=\"8 2 2 2\"",
        ][number / COLOURS.len() % 4];
        let points: Vec<String> = one
            .points
            .iter()
            .map(|(at, pods)| format!("{:.1},{:.1}", x(at / 1000.0), y(*pods as f64)))
            .collect();
        let (from, line) = (WIDTH - RIGHT + 14.0, TOP + 6.0 + 12.0 * number as f64);
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"{dash}/>\
             <path d=\"M{from:.1} {line:.1}h18\" stroke=\"{colour}\" stroke-width=\"1.6\"{dash}/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\">{}</text>",
            points.join(" "),
            from + 22.0,
            line + 3.5,
            escape(one.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// 1, 2 or 5 times a power of ten, at least the given number.
fn nice(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|one| one * power >= least * 0.999);
    step.unwrap_or(10.0) * power
}

fn steps(until: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..=(until / step + 1e-9) as usize).map(move |at| at as f64 * step)
}

fn tick(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{}k", value / 1000.0),
        value => format!("{}", (value * 1e4).round() / 1e4),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_drawn_from_corner_to_its_end() {
        let points = [(0.0, 0), (500.0, 400), (1000.0, 1000)];
        let one = Series {
            name: "A & B",
            points: &points,
        };
        let text = svg(&[one]);
        assert!(text.contains("70.0,370.0 "), "{text}");
        assert!(text.contains("570.0,20.0\""), "{text}");
        assert!(text.contains("A &amp; B"));
        assert!(svg(&[]).ends_with("</svg>\n"));
    }

    #[test]
    fn steps_are_round_numbers() {
        for (least, expected) in [
            (0.17, 0.2),
            (1666.0, 2000.0),
            (3.0, 5.0),
            (6.0, 10.0),
            (1.0, 1.0),
        ] {
            assert!(
                (nice(least) - expected).abs() < 1e-9,
                "{least}: {}",
                nice(least)
            );
        }
    }
}
