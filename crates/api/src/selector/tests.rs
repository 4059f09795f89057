//! The grammar, the words of complaints, and matching against a plain reading of the rules.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn prints_what_it_parsed_sorted_by_key() {
    let check = |input: &str, expected: &str| {
        assert_eq!(
            LabelSelector::parse(input).unwrap().to_string(),
            expected,
            "{input}"
        );
    };
    check("", "");
    check("x=a,y=b,z=c", "x=a,y=b,z=c");
    check("z=c, a==b", "a==b,z=c");
    check("x in (foo, bar),!y", "x in (bar,foo),!y");
    check("x notin (a,),z>1,w<2,v!=u,k", "k,v!=u,w<2,x notin (,a),z>1");
    check("x=", "x=");
    check("x in ()", "x in ()");
    check("in in (in,notin)", "in in (in,notin)");
    check("a=in", "a=in");
    check("x!=a,y", "x!=a,y");
}

#[test]
fn complaints_are_upstreams() {
    let check = |input: &str, expected: &str| {
        assert_eq!(
            LabelSelector::parse(input).unwrap_err().0,
            expected,
            "{input}"
        );
    };
    check("x=a,", "found '', expected: identifier after ','");
    check("x=a y", "found 'y', expected: ',' or 'end of string'");
    check(
        "=a",
        "found '=', expected: !, identifier, or 'end of string'",
    );
    check(
        "x y",
        "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt",
    );
    check(
        "x in a",
        "unable to parse requirement: found 'a' expected: '('",
    );
    check(
        "x>a",
        "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer",
    );
    assert!(
        LabelSelector::parse("a/b/c=d").unwrap_err().0.starts_with(
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key must consist of"
        )
    );
    assert!(
        LabelSelector::parse("a=-").unwrap_err().0.starts_with(
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string"
        )
    );
}

#[test]
fn matches_by_the_rules() {
    let check = |selector: &str, pairs: &[(&str, &str)], expected: bool| {
        let selector = LabelSelector::parse(selector).unwrap();
        assert_eq!(
            selector.matches(&labels(pairs)),
            expected,
            "{selector} {pairs:?}"
        );
    };
    check("", &[], true);
    check("a=b", &[("a", "b")], true);
    check("a=b", &[("a", "c")], false);
    check("a!=b", &[], true);
    check("a notin (b,c)", &[("a", "c")], false);
    check("a in (b,c)", &[], false);
    check("a", &[("a", "")], true);
    check("!a", &[("a", "")], false);
    check("a>5", &[("a", "6")], true);
    check("a>5", &[("a", "x")], false);
    check("a<5", &[("a", "4")], true);
    check("a<5", &[], false);
}

#[test]
fn json_selectors_follow_the_api() {
    let read = |value: &Value| LabelSelector::from_json(value);
    assert!(read(&Value::Null).unwrap().is_nothing());
    assert!(read(&json!({})).unwrap().is_empty());
    let selector = read(&json!({"matchLabels": {"b": "c"}, "matchExpressions": [
        {"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "z", "operator": "Exists"}]}))
    .unwrap();
    assert_eq!(selector.to_string(), "a in (x,y),b=c,z");
    assert_eq!(
        read(&json!({"matchExpressions": [{"key": "a", "operator": "Gt"}]}))
            .unwrap_err()
            .0,
        "\"Gt\" is not a valid label selector operator"
    );
    assert_eq!(
        read(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]}))
            .unwrap_err()
            .0,
        "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
    );
    let typed: meta::LabelSelector =
        serde_json::from_value(json!({"matchLabels": {"b": "c"}})).unwrap();
    assert_eq!(
        LabelSelector::from_typed(Some(&typed)).unwrap().to_string(),
        "b=c"
    );
}

#[test]
fn field_selectors_follow_the_api() {
    let check = |input: &str, expected: &str| {
        assert_eq!(
            FieldSelector::parse(input).unwrap().to_string(),
            expected,
            "{input}"
        );
    };
    check("", "");
    check(
        "metadata.name=x,status.phase!=Running",
        "metadata.name=x,status.phase!=Running",
    );
    check("b==c,a=b", "a=b,b=c");
    check("a=x\\,y\\=\\\\", "a=x\\,y\\=\\\\");
    let fails = |input: &str, expected: &str| {
        assert_eq!(
            FieldSelector::parse(input).unwrap_err().0,
            expected,
            "{input}"
        );
    };
    fails("abc", "invalid selector: 'abc'; can't understand 'abc'");
    fails(
        "a=b=c",
        "invalid field selector: unescaped character in value: 61",
    );
    fails(
        "a=\\b",
        "invalid field selector: invalid escape sequence: \\b",
    );
    let selector = FieldSelector::parse("a=1,b!=2").unwrap();
    assert_eq!(selector.exact("a"), Some("1"));
    assert_eq!(selector.exact("b"), None);
    assert!(selector.matches(|path| (path == "a").then_some("1")));
    assert!(!selector.matches(|_| Some("2")));
}

proptest! {
    #[test]
    fn printing_and_parsing_is_the_identity(
        terms in prop::collection::vec(("[a-d]", "(=|!=|==| in | notin )", prop::collection::vec("[a-d]{1,2}", 1..4)), 0..5)
    ) {
        let text: Vec<_> = terms.iter().map(|(key, operator, values)| match operator.trim() {
            "in" | "notin" => format!("{key}{operator}({})", values.join(",")),
            _ => format!("{key}{operator}{}", values[0]),
        }).collect();
        let selector = LabelSelector::parse(&text.join(",")).unwrap();
        prop_assert_eq!(&LabelSelector::parse(&selector.to_string()).unwrap(), &selector);
    }

    #[test]
    fn no_text_panics(text in "[a-c =!<>(),\\\\in]{0,16}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }
}
