use super::bounds::MAX_STEPS;
use super::*;

#[test]
fn matches_whole_values_only() {
    let pattern = Pattern::parse("/api|/v[0-9]+").unwrap();
    assert!(pattern.is_match(b"/api"));
    assert!(pattern.is_match(b"/v12"));
    assert!(!pattern.is_match(b"/api/x"));
    assert!(!pattern.is_match(b"x/api"));
}

#[test]
fn perl_classes_are_ascii() {
    assert!(Pattern::parse(r"\d+").unwrap().is_match(b"42"));
    assert!(!Pattern::parse(r"\d+").unwrap().is_match("٤٢".as_bytes()));
    assert!(Pattern::parse(r"[\d.]+").unwrap().is_match(b"4.2"));
    assert!(Pattern::parse(r"a\\d").unwrap().is_match(br"a\d"));
    assert!(Pattern::parse(r"a\b.*\bz").unwrap().is_match(b"a b z"));
    assert!(!Pattern::parse(r"a\b.*").unwrap().is_match(b"ab"));
}

#[test]
fn refuses_what_re2_refuses() {
    assert!(matches!(Pattern::parse("(?=a)"), Err(InvalidPattern::Syntax(_))));
    assert!(matches!(Pattern::parse("(a"), Err(InvalidPattern::Syntax(_))));
    assert!(matches!(Pattern::parse("((a{1000}){1000}){10}"), Err(InvalidPattern::Syntax(_))));
    assert!(matches!(Pattern::parse(&"a".repeat(1025)), Err(InvalidPattern::TooLong(1025))));
}

fn replace(pattern: &str, value: &str, with: &str) -> String {
    let new = Pattern::parse_for_rewrite(pattern).unwrap().replace_all(value.as_bytes(), with);
    String::from_utf8(new.unwrap()).unwrap()
}

#[test]
fn vs_37_parts_are_replaced_by_groups() {
    assert_eq!(replace("/([a-z]+)/([0-9]+)", "/item/42/x", r"/\2/\1"), "/42/item/x");
    assert_eq!(replace("a", "banana", "o"), "bonono");
    assert_eq!(replace("x", "abc", "y"), "abc");
    assert_eq!(replace("^/(v1|v2)", "/v1/v2", r"\\\0"), r"\/v1/v2");
    // Not one-pass: the groups are searched for.
    assert_eq!(replace("(.*)/old/(.*)", "/a/old/b/old/c", r"\1/new/\2"), "/a/old/b/new/c");
    assert_eq!(replace("(a|ab)(c|bcd)?", "abcd", r"<\1,\2>"), "<a,bcd>");
    assert_eq!(replace("(a)|(b)", "ab", r"[\1\2]"), "[a][b]");
    assert_eq!(replace(r"\bfoo\b", "foo/food/foo", "bar"), "bar/food/bar");
}

#[test]
fn vs_37_empty_parts_are_replaced_as_re2_does() {
    assert_eq!(replace("x*", "abc", "-"), "-a-b-c-");
    assert_eq!(replace("b*", "abc", "-"), "-a-c-");
    assert_eq!(replace("$", "/a", "/"), "/a/");
    assert_eq!(replace("^", "/a", "x"), "x/a");
    assert_eq!(replace("a??", "aa", "-"), "-a-a-");
    assert_eq!(replace("", "", "/"), "/");
}

/// How many states a match passes for the longest value, as the budget counts it.
fn work(pattern: &Pattern) -> usize {
    match &pattern.0.matcher {
        Matcher::Table(_) => MAX_VALUE,
        Matcher::Search { longest, .. } => {
            let hir = parse_hir(&format!("^(?:{})$", ascii_classes(pattern.as_str()))).unwrap();
            table::nfa(&hir, false).unwrap().states().len() * longest
        }
    }
}

#[test]
fn the_work_of_a_match_is_bounded_or_the_pattern_refused() {
    let nested = format!("({})*", (0..50).map(|i| format!("a{{{i},50}}")).collect::<Vec<_>>().join("|"));
    for pattern in [
        ".*a.{20}",
        "(.*a){12}.*",
        ".*(a|b|ab).{30}.*",
        "(a?){100}a{100}.*",
        "(x+x+)+y",
        "[^x]*x.{1,500}y.*",
        "(?:.{1,63}\\.){1,10}com.*",
        "(\\pL{1,40}-)*",
        nested.as_str(),
    ] {
        match Pattern::parse(pattern) {
            Ok(pattern) => assert!(work(&pattern) <= MAX_STEPS, "{pattern:?}: {}", work(&pattern)),
            Err(why) => assert!(matches!(why, InvalidPattern::TooCostly(_)), "{pattern}: {why}"),
        }
    }
    let costly = Pattern::parse(".*a.{20}").unwrap_err();
    assert!(costly.to_string().contains("more than the 400000 that are allowed"), "{costly}");
}

#[test]
fn patterns_as_people_write_them_are_tables() {
    for pattern in [
        "/a.*",
        "/api/v[0-9]+/.*",
        "^/users/([^/]+)/orders/([0-9]+)$",
        ".*\\.(png|jpg|jpeg|gif|css|js|woff2?)$",
        "(.*\\.)?example\\.com(:[0-9]+)?",
        "^(.*?;)?(user=jason)(;.*)?$",
        "^(.*?;)?(session=[0-9a-f]{32})(;.*)?$",
        "(?i).*(android|iphone|ipad|mobile).*",
        ".*Chrome/[0-9]{2,3}\\..*",
        "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*",
        "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
        "https://[^/]+\\.example\\.(com|org)(:\\d+)?",
        "Bearer [A-Za-z0-9._-]+",
        "/[^/]{1,255}/.*",
        "(?:/[a-z]+){1,20}/?",
        "\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}",
        ".{1,300}",
        "[\\w.+-]+@[\\w-]+\\.[\\w.-]+",
        "/.*/.*/.*",
    ] {
        let parsed = Pattern::parse(pattern).unwrap();
        assert!(matches!(parsed.0.matcher, Matcher::Table(_)), "{pattern}");
        Pattern::parse_for_rewrite(pattern).unwrap();
    }
}

#[test]
fn ambiguous_patterns_are_taken_where_no_long_value_matches() {
    let pattern = Pattern::parse("/[a-z/]{1,30}/[a-z/]{1,30}").unwrap();
    assert!(pattern.is_match(b"/a/b") && !pattern.is_match(b"/a") && work(&pattern) <= MAX_STEPS);
    assert!(!pattern.is_match("/a".repeat(30_000).as_bytes()));
}

#[test]
fn the_work_of_a_replacement_is_bounded() {
    let long = "a".repeat(60_000);
    // Each place is looked at to the end of the value, in vain.
    let quadratic = Pattern::parse_for_rewrite("a*b|a").unwrap();
    assert_eq!(quadratic.replace_all(long.as_bytes(), "x"), None);
    assert_eq!(quadratic.replace_all("a".repeat(1000).as_bytes(), "x").map(|new| new.len()), Some(1000));
    // Groups that have to be searched for in a long part.
    let groups = Pattern::parse_for_rewrite("(.*)a(.*)").unwrap();
    assert_eq!(groups.replace_all(long.as_bytes(), r"\2"), None);
    assert!(groups.replace_all("a".repeat(4000).as_bytes(), r"\2").is_some());
    assert!(groups.replace_all(long.as_bytes(), "x").is_some());
    // What is common is not.
    let common = Pattern::parse_for_rewrite("^/api/(.*)$").unwrap();
    let path = format!("/api/{long}");
    assert_eq!(common.replace_all(path.as_bytes(), r"/\1").map(|new| new.len()), Some(60_001));
    assert_eq!(replace("/+", &"//a".repeat(20_000), "/").len(), 40_000);
}
