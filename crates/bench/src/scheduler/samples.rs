//! From times of bindings to figures: throughput overall and sampled, as scheduler_perf samples it.

use serde::Serialize;

use crate::report::percentile;

/// Runs of this length and more are sampled each second, shorter ones ten times a second.
const LONG_RUN_MS: f64 = 5_000.0;

/// Throughput of one run. Rates are pods a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Throughput {
    /// All pods, over the time from the barrier to the last binding.
    pub(crate) overall: f64,
    /// Mean and percentiles of the samples, of which the reference's figures are the mean.
    pub(crate) average: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    /// From the barrier to the first binding, milliseconds.
    pub(crate) first_ms: f64,
    /// From the barrier to the last binding, milliseconds.
    pub(crate) total_ms: f64,
    pub(crate) sample_ms: f64,
}

/// `bound_ms`: milliseconds after the barrier at which each pod was seen with a node.
pub(crate) fn throughput(bound_ms: &[f64]) -> Throughput {
    let mut sorted = bound_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(&first_ms), Some(&total_ms)) = (sorted.first(), sorted.last()) else {
        return Throughput::default();
    };
    let sample_ms = if total_ms >= LONG_RUN_MS {
        1000.0
    } else {
        100.0
    };
    let samples = sample(&sorted, sample_ms);
    let mean = samples.iter().sum::<f64>() / samples.len().max(1) as f64;
    Throughput {
        overall: sorted.len() as f64 / total_ms * 1e3,
        average: mean,
        p50: percentile(&samples, 50.0),
        p90: percentile(&samples, 90.0),
        p99: percentile(&samples, 99.0),
        first_ms,
        total_ms,
        sample_ms,
    }
}

/// Pods a second in each interval from the first binding on; intervals without any share the rate of the next one, and the
/// last, partial one counts only when it is the only one.
fn sample(sorted_ms: &[f64], interval_ms: f64) -> Vec<f64> {
    let (Some(&first), Some(&last)) = (sorted_ms.first(), sorted_ms.last()) else {
        return Vec::new();
    };
    let whole = ((last - first) / interval_ms).floor() as usize;
    if whole == 0 {
        let length = (last - first).max(1.0);
        return vec![sorted_ms.len() as f64 / length * 1e3];
    }
    let mut counts = vec![0usize; whole];
    for at in sorted_ms {
        let slot = ((at - first) / interval_ms) as usize;
        if let Some(count) = counts.get_mut(slot) {
            *count += 1;
        }
    }
    let (mut samples, mut skipped) = (Vec::with_capacity(whole), 0);
    for count in counts {
        skipped += 1;
        if count > 0 {
            let rate = count as f64 / (skipped as f64 * interval_ms) * 1e3;
            samples.extend(std::iter::repeat_n(rate, skipped));
            skipped = 0;
        }
    }
    samples
}

/// How many pods were bound at each tenth of a second (or at a thousandth of a long run): a curve to plot.
pub(crate) fn curve(bound_ms: &[f64]) -> Vec<(f64, usize)> {
    let mut sorted = bound_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.last().copied().unwrap_or_default();
    let step = (last / 200.0).max(1.0);
    let mut points = vec![(0.0, 0)];
    let mut next = step;
    for (index, at) in sorted.iter().enumerate() {
        if *at >= next {
            points.push((*at, index + 1));
            next = (at / step).floor() * step + step;
        }
    }
    points.push((last, sorted.len()));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_that_rate() {
        // One pod each millisecond for two seconds, after half a second of nothing.
        let times: Vec<f64> = (0..2000).map(|at| 500.0 + f64::from(at)).collect();
        let found = throughput(&times);
        assert_eq!((found.first_ms, found.total_ms), (500.0, 2499.0));
        assert!((found.overall - 2000.0 / 2.499).abs() < 1e-6);
        assert_eq!(
            (found.average, found.p50, found.p99),
            (1000.0, 1000.0, 1000.0)
        );
        assert_eq!(found.sample_ms, 100.0);
    }

    #[test]
    fn a_pause_is_not_left_out() {
        // 100 pods at once, a second of nothing, 100 pods.
        let times: Vec<f64> = (0..100)
            .map(|_| 0.0)
            .chain((0..101).map(|_| 1000.0))
            .collect();
        let samples = sample(&times, 100.0);
        assert_eq!(samples, vec![1000.0]);
        let times: Vec<f64> = times.into_iter().chain([1100.0]).collect();
        let samples = sample(&times, 100.0);
        assert_eq!(samples.len(), 11);
        assert_eq!(samples[0], 1000.0);
        assert!((samples[10] - 101.0).abs() < 1e-9);
    }

    #[test]
    fn curves_start_at_nothing_and_end_with_all() {
        let points = curve(&[5.0, 10.0, 400.0]);
        assert_eq!(points.first(), Some(&(0.0, 0)));
        assert_eq!(points.last(), Some(&(400.0, 3)));
        assert_eq!(throughput(&[]), Throughput::default());
    }
}
