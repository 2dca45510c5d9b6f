use super::*;
use serde_json::json;

fn value(text: &str) -> Value {
    parse(text).unwrap().value
}

#[test]
fn json_is_read_as_well() {
    assert_eq!(value(r#"{"a": [1, "x", null, true]}"#), json!({"a": [1, "x", null, true]}));
}

#[test]
fn a_field_that_is_there_twice_is_a_fault_with_its_place() {
    let fault = parse("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap_err();
    assert_eq!((fault.line, fault.column, &*fault.message), (4, 3, "duplicate key `c`"));
}

#[test]
fn anchors_aliases_and_merges_are_written_out() {
    let value = value("base: &b {x: 1, z: 2}\nitem:\n  <<: *b\n  z: 3\nsame: *b\n");
    assert_eq!(value["item"], json!({"z": 3, "x": 1}));
    assert_eq!(value["same"], json!({"x": 1, "z": 2}));
}

/// Parses a text, and returns the number of copied bytes, which never exceeds the limit by more than one value.
fn copies(text: &str) -> (Result<Value, Fault>, usize) {
    let mut reader = Reader::new(text, false);
    let read = reader.document().map(|(value, _)| value);
    let kept = reader.anchors.values().map(|anchored| match anchored {
        Anchored::Value(value) => size(value),
        Anchored::TooLarge => 0,
    });
    (read, kept.sum())
}

#[test]
fn an_alias_bomb_is_refused_with_its_line_before_it_takes_memory() {
    let bomb = |first: &str, wide: usize| {
        let mut text = format!("a0: &a0 {first}\n");
        for i in 1..9 {
            text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); wide].join(",")));
        }
        text
    };
    let long = format!("'{}'", "x".repeat(10_000));
    for (first, wide) in [("[x,x,x,x,x,x,x,x,x,x]", 10), ("x", 10), ("{a: x, b: x, c: x, d: x}", 10), (&long, 10)] {
        let text = bomb(first, wide);
        let (read, kept) = copies(&text);
        let fault = read.unwrap_err();
        assert!(fault.message.contains("aliases of the document expand"), "{fault:?}");
        assert!((2..=9).contains(&fault.line), "{fault:?}");
        assert!(kept <= MAX_COPIES, "{kept}");
    }
    // One large text with many aliases of it, in keys as well.
    let text = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 100].join(","));
    assert_eq!(copies(&text).0.unwrap_err().line, 2);
    let text = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(1 << 20), vec!["{*a : 1}"; 100].join(","));
    assert_eq!(copies(&text).0.unwrap_err().line, 2);
}

#[test]
fn anchors_within_anchors_take_no_more_than_is_allowed() {
    let deep = |inner: &str| {
        let open: String = (0..90).map(|i| format!("&a{i} [")).collect();
        format!("a: {open}{inner}{}\n", "]".repeat(90))
    };
    // Every level would keep a copy of a megabyte. They are no fault while nothing asks for them.
    let text = deep(&format!("'{}'", "x".repeat(1 << 20)));
    let (read, kept) = copies(&text);
    assert!(read.is_ok() && kept <= MAX_COPIES, "{kept}");
    let (read, _) = copies(&format!("{text}b: *a0\n"));
    assert_eq!(read.unwrap_err().line, 2);
}

#[test]
fn common_use_of_aliases_is_within_the_bound() {
    let mut text =
        "route: &r\n- destination: {host: reviews.prod.svc.cluster.local, port: {number: 80}}\nitems:\n".to_owned();
    for i in 0..1000 {
        text.push_str(&format!("- {{name: v{i}, route: *r}}\n"));
    }
    assert_eq!(value(&text)["items"].as_array().unwrap().len(), 1000);
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        let fault = parse(&text).unwrap_err();
        assert_eq!(fault.line, 1, "{fault:?}");
    }
}

#[test]
fn places_are_those_of_keys_and_items() {
    let (_, places) = parse_with_places("spec:\n  hosts:\n  - a\n  - b\n  port: {number: 80}\n").unwrap();
    assert_eq!(places.get("spec.hosts[1]").unwrap().at, (4, 5));
    assert_eq!(places.get("spec.port.number").unwrap().at, (5, 10));
    let (nearest, exact) = places.nearest("spec.port.name");
    assert_eq!((nearest.at, exact), ((5, 3), false));
}

#[test]
fn keys_with_dots_and_brackets_are_found() {
    let (_, places) = parse_with_places("labels:\n  a: x\n  a.b/c: y\n  a.b: {c: z}\n  'x[0]': w\n").unwrap();
    for (path, line) in [("labels.a", 2), ("labels.a.b/c", 3), ("labels.a.b.c", 4), ("labels.x[0]", 5)] {
        assert_eq!(places.get(path).unwrap().at.0, line, "{path}");
    }
}

#[test]
fn what_was_written_is_known() {
    let (value, places) = parse_with_places("labels:\n  on: 1.10\n  0012: yes\n  a: ~\n  1: '0'\n").unwrap();
    assert_eq!(value["labels"], json!({"true": 1.1, "10": true, "a": null, "1": "0"}));
    assert_eq!(places.get("labels.true").unwrap().written(), Some("1.10"));
    assert_eq!(places.get("labels.a").unwrap().written(), Some("~"));
    assert_eq!(places.get("labels.1").unwrap().written(), None);
    let odd: Vec<_> = places.odd_keys().into_iter().map(|odd| (odd.path, odd.written)).collect();
    assert_eq!(odd, [("labels.true".to_owned(), "on".to_owned()), ("labels.10".to_owned(), "0012".to_owned())]);
    assert!(parse("on: 1\n").unwrap().odd_keys && !parse("one: 1\n'on': 1\n80: x\n").unwrap().odd_keys);
}

#[test]
fn comments_are_nowhere_in_a_document() {
    let texts = [
        "# a\nx: [1]\n",
        "x: [1]\n# a\n",
        "x:\n- 1\n# a\n",
        "x: # a\n# b\n  [1]\n",
        "x:\n  # a\n  - 1 # b\n  # c\n...\n",
        "x: [1, # a\n]\n",
    ];
    for text in texts {
        assert_eq!(parse(text).unwrap().value, json!({"x": [1]}), "{text}");
        assert!(parse_with_places(text).unwrap().1.get("x[0]").is_some(), "{text}");
    }
}
