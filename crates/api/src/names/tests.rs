//! Upstream's words, and the hand-written checks against the regular expressions they quote.

use proptest::prelude::*;
use regex::Regex;

use super::*;

#[test]
fn complaints_are_upstreams() {
    assert_eq!(
        dns1123_label("Bad"),
        [
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ]
    );
    assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
    assert_eq!(
        dns1123_subdomain("a_b"),
        [
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        ]
    );
    assert_eq!(
        dns1123_subdomain(&"a".repeat(254)),
        ["must be no more than 253 characters"]
    );
    assert_eq!(
        label_value(&"a".repeat(64)),
        ["must be no more than 63 bytes"]
    );
    assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
    assert_eq!(
        qualified_name(""),
        [
            "name part must be non-empty",
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ]
    );
    assert!(qualified_name("a/b/c")[0].starts_with("a valid label key must consist of"));
    assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
    assert_eq!(
        path_segment("a/b%"),
        ["may not contain '/'", "may not contain '%'"]
    );
    assert_eq!(path_segment(".."), ["may not be '..'"]);
    assert_eq!(config_map_key("..a"), ["must not start with '..'"]);
    assert_eq!(
        port_name("-"),
        [
            "must contain at least one letter (a-z)",
            "must not begin or end with a hyphen"
        ]
    );
    assert_eq!(mask_trailing_dash("web-"), "wea");
    assert_eq!(mask_trailing_dash("-"), "-");
}

/// The words carry the regular expression that the check stands for.
fn quoted_regex(complaints: &[String]) -> Regex {
    let text = complaints
        .iter()
        .find(|text| text.contains("regex used"))
        .unwrap();
    let start = text.rfind("validation is '").unwrap() + "validation is '".len();
    let end = text.rfind("')").unwrap();
    Regex::new(&format!("^(?:{})$", &text[start..end])).unwrap()
}

proptest! {
    #[test]
    fn checks_agree_with_the_regular_expressions(text in "[-a-cA-B0-2._ *%]{0,6}") {
        let check = |errors: Vec<String>, reference: &[String]| {
            let fits = quoted_regex(reference).is_match(&text);
            let complains = errors.iter().any(|e| e.contains("regex used") || e.contains("contain dots"));
            prop_assert_eq!(fits, !complains, "{:?}", &text);
            Ok(())
        };
        check(dns1123_label(&text), &dns1123_label("!"))?;
        check(dns1123_subdomain(&text), &dns1123_subdomain("!"))?;
        check(dns1123_subdomain_with_underscore(&text), &dns1123_subdomain_with_underscore("!"))?;
        check(dns1035_label(&text), &dns1035_label("!"))?;
        check(wildcard_dns1123_subdomain(&text), &wildcard_dns1123_subdomain("!"))?;
        check(label_value(&text), &label_value("!"))?;
        check(qualified_name(&text), &qualified_name("!"))?;
        check(c_identifier(&text), &c_identifier("!"))?;
        check(percent(&text), &percent("!"))?;
        check(http_header_name(&text), &http_header_name("!"))?;
        check(config_map_key(&text), &config_map_key("!"))?;
        check(environment_variable_strict(&text), &environment_variable_strict("!"))?;
    }
}
