use super::*;

fn parsed(text: &str) -> Vec<String> {
    match Format::parse(text) {
        Err(error) => vec![format!("!{error}")],
        Ok(format) => format
            .parts()
            .iter()
            .map(|part| match part {
                Part::Text(text) => format!("={text}"),
                Part::Operator(operator, None) => operator.to_string(),
                Part::Operator(operator, Some(length)) => format!("{operator}:{length}"),
            })
            .collect(),
    }
}

#[test]
fn te_05_a_text_is_cut_into_parts() {
    let rows: &[(&str, &[&str])] = &[
        ("", &[]),
        ("plain", &["=plain"]),
        ("100%% sure", &["=100% sure"]),
        ("a %PROTOCOL% b%%c", &["=a ", "PROTOCOL", "= b%c"]),
        ("%ROUTE_NAME%%HOSTNAME%", &["ROUTE_NAME", "HOSTNAME"]),
        ("%REQ(X-A?:path):10%!", &["REQ(x-a?:path):10", "=!"]),
        ("%REQ(:AUTHORITY)%", &["REQ(:authority)"]),
        ("%REQ(host)%", &["REQ(:authority)"]),
        ("%RESP(:status)%", &["RESP(:status)"]),
        ("%PROTOCOL:4%", &["PROTOCOL:4"]),
        ("%START_TIME(%Y (%m))%!", &["START_TIME(%Y (%m))", "=!"]),
        ("%START_TIME%", &["START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)"]),
        ("%START_TIME(%s) %!", &["START_TIME(%s)", "=!"]),
        ("%EMIT_TIME(%E3S)%", &["EMIT_TIME(%E3S)"]),
        ("%QUERY_PARAM(q)%", &["QUERY_PARAM(q)"]),
        ("%PATH(NQ)%%PATH%", &["PATH(NQ)", "PATH(WQ)"]),
        ("%DYNAMIC_METADATA([\"a\", \"b\"]):5%", &["DYNAMIC_METADATA([\"a\", \"b\"]):5"]),
        ("%DYNAMIC_METADATA(envoy.filters.http.rbac:a)%", &["DYNAMIC_METADATA(envoy.filters.http.rbac:a)"]),
        ("%DYNAMIC_METADATA(envoy.common)%", &["DYNAMIC_METADATA(envoy.common)"]),
        ("%TRAILER(X-A?x-b):3%", &["TRAILER(x-a?x-b):3"]),
        ("%GRPC_STATUS%%GRPC_STATUS(CAMEL_STRING)%", &["GRPC_STATUS", "GRPC_STATUS"]),
        ("%GRPC_STATUS(NUMBER)%%GRPC_STATUS_NUMBER%", &["GRPC_STATUS_NUMBER", "GRPC_STATUS_NUMBER"]),
        ("%GRPC_STATUS(SNAKE_STRING)%", &["GRPC_STATUS(SNAKE_STRING)"]),
        ("%ENVIRONMENT(HOME)%", &["ENVIRONMENT(HOME)"]),
        ("%DURATION%", &["COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)"]),
        ("%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%", &["COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)"]),
        ("%COMMON_DURATION(US_CX_BEG:US_CX_END)%", &["COMMON_DURATION(US_CX_BEG:US_CX_END)"]),
        ("%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", &["RESPONSE_CODE_DETAILS"]),
        ("%UPSTREAM_HOST%", &["UPSTREAM_REMOTE_ADDRESS"]),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", &["DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"]),
        ("%UPSTREAM_LOCAL_PORT%", &["UPSTREAM_LOCAL_PORT"]),
    ];
    for (text, parts) in rows {
        assert_eq!(parsed(text), *parts, "{text}");
    }
}

#[test]
fn te_05_an_error_names_the_operator_and_its_position() {
    let open =
        |at| format!("!`%` at character {at} begins an operator that does not end; write `%%` for a percent sign");
    let rows: &[(&str, String)] = &[
        ("50%", open(3)),
        ("é%REQ(x", open(2)),
        ("%REQ(x):z%", open(1)),
        ("%%%REQ(x):99999999999999999999999%", open(3)),
        ("%NOBODY%", "!unknown operator `NOBODY` at character 1".into()),
        ("a %RESPONSE_CODES%", "!unknown operator `RESPONSE_CODES` at character 3; did you mean `RESPONSE_CODE`?".into()),
        ("%protocol%", "!unknown operator `protocol` at character 1; did you mean `PROTOCOL`?".into()),
        (
            "%UPSTREAM_REMOT_ADDRESS%",
            "!unknown operator `UPSTREAM_REMOT_ADDRESS` at character 1; did you mean `UPSTREAM_REMOTE_ADDRESS`?".into(),
        ),
        ("%SOME_PORT%", "!unknown operator `SOME_PORT` at character 1".into()),
        ("%REQ%", "!operator `REQ` at character 1 takes the name of a header".into()),
        ("%REQ(a b)%", "!operator `REQ` at character 1 takes the name of a header".into()),
        ("%QUERY_PARAM()%", "!operator `QUERY_PARAM` at character 1 takes the name of a query parameter".into()),
        ("%TRAILER%", "!operator `TRAILER` at character 1 takes the name of a header".into()),
        (
            "%GRPC_STATUS(x)%",
            "!operator `GRPC_STATUS` at character 1 takes `CAMEL_STRING`, `SNAKE_STRING` or `NUMBER`".into(),
        ),
        ("%ENVIRONMENT%", "!operator `ENVIRONMENT` at character 1 takes the name of an environment variable".into()),
        (
            "%DYNAMIC_METADATA%",
            "!operator `DYNAMIC_METADATA` at character 1 takes the name of a filter and a key, as in `envoy.filters.http.rbac:KEY`"
                .into(),
        ),
        ("%PATH(XX)%", "!operator `PATH` at character 1 takes `WQ` or `NQ`".into()),
        ("%PROTOCOL(x)%", "!operator `PROTOCOL` at character 1 takes no argument".into()),
        ("%START_TIME(%!)%", "!operator `START_TIME` at character 1 takes a valid `strftime` format".into()),
        (
            "%COMMON_DURATION(DS_RX_BEG)%",
            "!operator `COMMON_DURATION` at character 1 takes two points of time and a unit, as in `DS_RX_BEG:DS_TX_END:ms`"
                .into(),
        ),
    ];
    for (text, error) in rows {
        assert_eq!(parsed(text), [error.as_str()], "{text}");
    }
}

#[test]
fn te_05_what_is_shown_parses_to_the_same() {
    for (name, operator) in operator::every() {
        let again = Format::parse(&format!("%{operator}%")).unwrap();
        assert_eq!(again.operators().collect::<Vec<_>>(), [&operator], "{name}");
    }
}

#[test]
fn te_05_operators_without_a_fact_are_known() {
    for name in ["FILTER_STATE(a:PLAIN:4)", "CEL(a % b)", "DYNAMIC_METADATA(envoy.filters.http.lua:a)", "SPAN_ID"] {
        let format = Format::parse(&format!("%{name}%")).unwrap();
        assert!(matches!(format.operators().next(), Some(Operator::Absent(_))), "{name}");
    }
}

#[test]
fn te_05_times_are_written_in_the_format() {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_709_210_096, 7_654_321);
    for (format, text) in [
        ("%Y-%m-%dT%H:%M:%S.%3fZ", "2024-02-29T12:34:56.007Z"),
        ("%s", "1709210096"),
        ("%f", "007654321"),
        ("%6f", "007654"),
        ("%E3S", "56.007"),
        ("%d/%b/%Y:%H:%M:%S %z", "29/Feb/2024:12:34:56 +0000"),
        ("%%f", "%f"),
    ] {
        let mut out = Vec::new();
        TimeFormat::parse(format).unwrap().write(time, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text, "{format}");
    }
}

#[test]
fn te_05_the_defaults_are_istios() {
    let LogFormat::Text(text) = LogFormat::istio_text() else { panic!("no text") };
    assert_eq!(text.operators().count(), 24);
    let json = LogFormat::istio_json();
    assert_eq!(json.operators().len(), 24);
    let mut wanted: Vec<String> = text.operators().map(ToString::to_string).collect();
    let mut found: Vec<String> = json.operators().iter().map(ToString::to_string).collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    // A text without a line break at its end gets one.
    assert_eq!(LogFormat::text("a"), LogFormat::text("a\n"));
}

#[test]
fn te_05_keys_are_sorted_and_the_last_of_equal_ones_counts() {
    let literal = |text: &str| JsonNode::Literal(text.into());
    let JsonNode::Object(fields) =
        JsonNode::object(vec![("b".into(), literal("1")), ("a".into(), literal("2")), ("b".into(), literal("3"))])
    else {
        panic!("no object")
    };
    assert_eq!(*fields, [("a".into(), literal("2")), ("b".into(), literal("3"))]);
}

/// Any text is a format or an error, and a format is displayed as it was written.
#[test]
fn te_05_any_text_parses_or_gives_an_error() {
    const TOKENS: [&str; 24] = [
        "%",
        "%%",
        "(",
        ")",
        ":",
        "?",
        ")%",
        "REQ",
        "REQ(x-a)",
        "%REQ(:path?x):5%",
        "START_TIME",
        "%f",
        "%E3S",
        "PATH",
        "WQ",
        "0",
        "9",
        " ",
        "é",
        "\u{1f600}",
        "\n",
        "COMMON_DURATION(",
        "DS_RX_BEG",
        "%RESPONSE_CODE%",
    ];
    let mut state = 0x5eed_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut good = 0;
    for _ in 0..10_000 {
        let count = next() % 9;
        let text: String = (0..count).map(|_| TOKENS[next() % TOKENS.len()]).collect();
        match Format::parse(&text) {
            Ok(format) => {
                good += 1;
                assert_eq!(format.to_string(), text);
            }
            Err(error) => assert!(error.to_string().contains(" at character "), "{text}: {error}"),
        }
        let _ = HeaderText::parse(&text);
    }
    assert!((1_000..9_000).contains(&good), "{good} of 10000 texts are formats");
}

#[test]
fn vs_47_texts_of_headers_have_no_characters_that_a_header_cannot_have() {
    assert_eq!(HeaderText::parse("100%% sure").unwrap().to_string(), "100% sure");
    assert!(matches!(HeaderText::parse("a %PROTOCOL% "), Ok(HeaderText::Made(_))));
    assert!(matches!(HeaderText::parse("a\n %PROTOCOL%"), Err(InvalidText::Text(_))));
    assert!(matches!(HeaderText::parse("a%"), Err(InvalidText::Format(InvalidFormat::Open { position: 2 }))));
}

#[test]
fn te_05_the_documents_list_every_operator() {
    let page = include_str!("../../../../docs/access-log.md");
    for (name, operator) in operator::every() {
        let name = ["_ADDRESS_WITHOUT_PORT", "_PORT"]
            .iter()
            .find_map(|end| Some(format!("{}_ADDRESS", name.strip_suffix(end)?)))
            .unwrap_or(name.to_owned());
        let is_listed = page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}("));
        assert!(is_listed || matches!(operator, Operator::Absent(_)), "docs/access-log.md lacks `{name}`");
    }
}
