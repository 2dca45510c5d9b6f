//! Selectors of labels, as an API server reads them, and in its words where they are wrong (`labels.Parse` of apimachinery):
//! `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, `a>1`, `a<1`, with commas between.

use serde_json::Value;
use std::collections::BTreeSet;

/// All demands have to be met.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Demand>);

/// A demand on one label.
#[derive(Debug, PartialEq, Eq)]
struct Demand {
    key: String,
    test: Test,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

impl Selector {
    /// Reads a selector; the error is a sentence of the API server.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Parser { tokens: tokens(text), at: 0 }.selector().map(Self)
    }

    /// Whether an object has such labels.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.0.iter().all(|demand| demand.is_met(labels.and_then(|labels| labels.get(&demand.key)?.as_str())))
    }
}

impl Demand {
    fn is_met(&self, label: Option<&str>) -> bool {
        let number = || label.and_then(|label| label.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => label.is_some_and(|label| values.contains(label)),
            Test::NotIn(values) => label.is_none_or(|label| !values.contains(label)),
            Test::Exists => label.is_some(),
            Test::Absent => label.is_none(),
            Test::Above(bound) => number().is_some_and(|number| number > *bound),
            Test::Below(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    End,
    Symbol(&'static str),
    /// A key, a value, `in` or `notin`.
    Word(String),
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::End => "",
            Self::Symbol(symbol) => symbol,
            Self::Word(text) => text,
        }
    }
}

/// The longer of two with the same beginning comes first.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

/// The tokens of a text, the last one its end.
fn tokens(text: &str) -> Vec<Token> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let ends_word = |c: char| is_space(c) || matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let (token, behind) = match SYMBOLS.iter().find_map(|symbol| Some((symbol, rest.strip_prefix(symbol)?))) {
            Some((symbol, behind)) => (Token::Symbol(symbol), behind),
            None => {
                let (word, behind) = rest.split_at(rest.find(ends_word).unwrap_or(rest.len()));
                (Token::Word(word.to_owned()), behind)
            }
        };
        tokens.push(token);
        rest = behind.trim_start_matches(is_space);
    }
    tokens.push(Token::End);
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn selector(mut self) -> Result<Vec<Demand>, String> {
        let mut demands = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                Token::End => return Ok(demands),
                other => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text())),
            }
            let demand = self.demand().map_err(|error| format!("unable to parse requirement: {error}"))?;
            demands.push(demand);
            match self.next() {
                Token::End => return Ok(demands),
                Token::Symbol(",") if matches!(self.peek(), Token::Word(_) | Token::Symbol("!")) => {}
                Token::Symbol(",") => {
                    return Err(format!("found '{}', expected: identifier after ','", self.peek().text()));
                }
                other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
            }
        }
    }

    fn demand(&mut self) -> Result<Demand, String> {
        let mut is_negated = false;
        let mut token = self.next();
        if token == Token::Symbol("!") {
            is_negated = true;
            token = self.next();
        }
        let Token::Word(key) = token else { return Err(format!("found '{}', expected: identifier", token.text())) };
        let wrong = key_errors(&key);
        if !wrong.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", wrong.join("; ")));
        }
        let test = match (is_negated, self.peek()) {
            (true, _) => Test::Absent,
            (false, Token::End | Token::Symbol(",")) => Test::Exists,
            (false, _) => self.test(&key)?,
        };
        Ok(Demand { key, test })
    }

    fn test(&mut self, key: &str) -> Result<Test, String> {
        let operator = self.next();
        let values = match operator.text() {
            "in" | "notin" => self.values()?,
            "=" | "==" | "!=" | ">" | "<" => BTreeSet::from([self.value()?]),
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let wrong = value_errors(key, &values, matches!(operator.text(), ">" | "<"));
        match wrong.as_slice() {
            [] => {}
            [one] => return Err(one.clone()),
            several => return Err(format!("[{}]", several.join(", "))),
        }
        let bound = || values.first().and_then(|value| value.parse().ok()).unwrap_or_default();
        Ok(match operator.text() {
            "in" | "=" | "==" => Test::In(values),
            ">" => Test::Above(bound()),
            "<" => Test::Below(bound()),
            _ => Test::NotIn(values),
        })
    }

    /// One value, which may be empty.
    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value),
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    /// Values between parentheses, each of which may be empty.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        let first = self.peek().clone();
        match first {
            Token::Word(_) | Token::Symbol(",") => {
                let values = self.list()?;
                match self.next() {
                    Token::Symbol(")") => Ok(values),
                    _ => Err(format!("found '{}', expected: ')'", first.text())),
                }
            }
            Token::Symbol(")") => {
                self.next();
                Ok(BTreeSet::from([String::new()]))
            }
            other => Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
        }
    }

    fn list(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.insert(value);
                    match self.peek() {
                        Token::Symbol(",") => {}
                        Token::Symbol(")") => return Ok(values),
                        other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
                    }
                }
                Token::Symbol(",") => {
                    if values.is_empty() || matches!(self.peek(), Token::Symbol("," | ")")) {
                        values.insert(String::new());
                    }
                    if *self.peek() == Token::Symbol(")") {
                        return Ok(values);
                    }
                }
                other => return Err(format!("found '{}', expected: ',', or identifier", other.text())),
            }
        }
    }
}

/// The longest name of a label, and the longest value.
const MAX_LENGTH: usize = 63;
/// The longest domain before the name of a label.
const MAX_DOMAIN: usize = 253;

const KEY: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
                   'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                     with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const DOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
                      end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                      '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with the name of a label.
fn key_errors(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let (domain, name) = match *key.split('/').collect::<Vec<_>>() {
        [name] => (None, name),
        [domain, name] => (Some(domain), name),
        _ => {
            return vec![format!(
                "a valid label key {KEY} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    let said = |part: &str, what: String| format!("{part} part {what}");
    match domain {
        None => {}
        Some("") => errors.push(said("prefix", "must be non-empty".to_owned())),
        Some(domain) => {
            if domain.len() > MAX_DOMAIN {
                errors.push(said("prefix", too_long(MAX_DOMAIN)));
            }
            if !domain.split('.').all(is_domain_label) {
                errors.push(said("prefix", DOMAIN.to_owned()));
            }
        }
    }
    if name.is_empty() {
        errors.push(said("name", "must be non-empty".to_owned()));
    } else if name.len() > MAX_LENGTH {
        errors.push(said("name", too_long(MAX_LENGTH)));
    }
    if !is_name(name) {
        errors.push(said("name", KEY.to_owned()));
    }
    errors
}

/// What is wrong with the values that a label is to have; `are_numbers`: they are compared by size.
fn value_errors(key: &str, values: &BTreeSet<String>, are_numbers: bool) -> Vec<String> {
    let number = |value: &String| {
        let is_wrong = are_numbers && value.parse::<i64>().is_err();
        is_wrong.then(|| {
            format!("values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer")
        })
    };
    let text = |(at, value): (usize, &String)| {
        let mut errors = Vec::new();
        if value.len() > MAX_LENGTH {
            errors.push(too_long(MAX_LENGTH));
        }
        if !value.is_empty() && !is_name(value) {
            errors.push(VALUE.to_owned());
        }
        (!errors.is_empty()).then(|| format!("values[{at}][{key}]: Invalid value: {value:?}: {}", errors.join("; ")))
    };
    values.iter().filter_map(number).chain(values.iter().enumerate().filter_map(text)).collect()
}

fn too_long(bound: usize) -> String {
    format!("must be no more than {bound} bytes")
}

/// `([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]`
fn is_name(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(ends)
        && text.ends_with(ends)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
fn is_domain_label(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_end) && text.ends_with(is_end) && text.chars().all(|c| is_end(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_demand_and_exclude_labels() {
        let object = json!({"metadata": {"labels": {"app": "a", "tier": "x", "size": "7", "none": "", "in": "in"}}});
        let selects = |text: &str| Selector::parse(text).unwrap().selects(&object);
        for text in [
            "",
            "app=a",
            " app == a ",
            "app",
            "app=a,tier=x",
            "app!=b",
            "!other",
            "other!=1",
            "app in (a)",
            "app in (b, a)",
            "app notin (b,c),tier",
            "other notin (a)",
            "size>6,size<8",
            "none=",
            "none in ()",
            "none in (,a)",
            "none in (a,)",
            "none in (a,,b)",
            "in in (in,notin)",
            "in",
            "! other",
        ] {
            assert!(selects(text), "{text}");
        }
        for text in [
            "app=b",
            "app=a,tier=y",
            "app!=a",
            "!app",
            "other",
            "other in (a)",
            "app in (b,c)",
            "app notin (a,b)",
            "size>7",
            "app>1",
            "other<1",
            "app=",
            "none!=",
        ] {
            assert!(!selects(text), "{text}");
        }
    }

    /// The words are those of the API server, with which `get_in_cluster` compares some of them.
    #[test]
    fn what_is_wrong_is_said_as_an_api_server_says_it() {
        for (text, said) in [
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
            ("a in (,=)", "unable to parse requirement: found '=', expected: ',', or identifier"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            ("a=!", "unable to parse requirement: found '!', expected: identifier"),
        ] {
            assert_eq!(Selector::parse(text), Err(said.to_owned()), "{text}");
        }
        for (text, part) in [
            ("-a", "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of"),
            ("/a", "prefix part must be non-empty"),
            ("A.b/a", "prefix part a lowercase RFC 1123 subdomain must"),
            ("a/b/c", "a valid label key must consist of"),
            ("a/", "name part must be non-empty; name part must consist of"),
            ("a=b@", "values[0][a]: Invalid value: \"b@\": a valid label must be an empty string or"),
            ("a>b", "values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer"),
        ] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let long = "a".repeat(64);
        assert!(Selector::parse(&long).unwrap_err().contains("name part must be no more than 63 bytes"));
        assert!(Selector::parse(&format!("a={long}")).unwrap_err().contains("must be no more than 63 bytes"));
    }
}
