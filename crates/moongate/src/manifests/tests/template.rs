//! As much of Helm's templates as the chart has: conditions, loops and the functions that it calls. Anything else fails.

use serde_json::{Map, Value, json};

/// Renders a template with the values of a chart, in the namespace `gateways`; an error is what `fail` says.
pub(super) fn render(template: &str, values: &Value) -> Result<String, String> {
    let root = json!({"Values": values, "Release": {"Namespace": "gateways"}});
    let tokens = tokens(template);
    let mut out = String::new();
    let mut rest = &tokens[..];
    block(&mut rest, &root, &root, Some(&mut out))?;
    assert!(rest.is_empty(), "an end without a beginning");
    Ok(out)
}

enum Token<'a> {
    Text(&'a str),
    /// What stands between the braces.
    Action(&'a str),
}

fn tokens(template: &str) -> Vec<Token<'_>> {
    let (mut all, mut rest) = (Vec::new(), template);
    while let Some((text, behind)) = rest.split_once("{{") {
        let (action, behind) = behind.split_once("}}").unwrap();
        let (text, action) = match action.strip_prefix('-') {
            Some(action) => (text.trim_end(), action),
            None => (text, action),
        };
        all.extend([Token::Text(text), Token::Action(action.trim())]);
        rest = behind;
    }
    all.push(Token::Text(rest));
    all
}

/// Renders up to the end of the block; without `out` it is skipped.
fn block(rest: &mut &[Token<'_>], root: &Value, dot: &Value, mut out: Option<&mut String>) -> Result<(), String> {
    while let Some((token, behind)) = rest.split_first() {
        *rest = behind;
        let action = match token {
            Token::Text(text) => {
                out.iter_mut().for_each(|out| out.push_str(text));
                continue;
            }
            Token::Action("end") => return Ok(()),
            Token::Action(action) => *action,
        };
        let (word, argument) = action.split_once(' ').unwrap_or((action, ""));
        if !matches!(word, "if" | "with" | "range") {
            if let Some(out) = &mut out {
                out.push_str(&text(&pipeline(action, root, dot)?));
            }
            continue;
        }
        let value = if out.is_some() { pipeline(argument, root, dot)? } else { Value::Null };
        let dots = match (word, value) {
            ("range", Value::Array(items)) => items,
            ("with", value) if is_true(&value) => vec![value],
            ("if", value) if is_true(&value) => vec![dot.clone()],
            _ => Vec::new(),
        };
        let body = *rest;
        block(rest, root, dot, None)?;
        for dot in &dots {
            block(&mut { body }, root, dot, out.as_deref_mut())?;
        }
    }
    Ok(())
}

fn pipeline(text: &str, root: &Value, dot: &Value) -> Result<Value, String> {
    let mut last = None;
    for call in text.split('|') {
        let mut words = words(call.trim());
        let function = words.remove(0);
        let mut arguments = Vec::new();
        for word in &words {
            arguments.push(operand(word, root, dot)?);
        }
        arguments.extend(last);
        last = Some(apply(&function, &arguments, root, dot)?);
    }
    Ok(last.unwrap())
}

/// Words, of which what is in quotes or parentheses is one.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut depth, mut is_quoted) = (vec![String::new()], 0, false);
    for c in text.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth -= 1,
            _ => {}
        }
        if c == ' ' && depth == 0 && !is_quoted {
            words.push(String::new());
        } else {
            words.last_mut().unwrap().push(c);
        }
    }
    words
}

fn operand(word: &str, root: &Value, dot: &Value) -> Result<Value, String> {
    if let Some(inner) = word.strip_prefix('(') {
        return pipeline(inner.strip_suffix(')').unwrap(), root, dot);
    }
    if let Some(text) = word.strip_prefix('"') {
        return Ok(text.strip_suffix('"').unwrap().into());
    }
    if let Ok(number) = word.parse::<i64>() {
        return Ok(number.into());
    }
    let path = word.strip_prefix('.').unwrap_or_else(|| panic!("`{word}` is not known"));
    let mut fields = path.split('.').filter(|field| !field.is_empty());
    let from = if path.is_empty() { dot } else { root };
    // A value that the chart does not have would be an empty text with Helm.
    let found = fields.try_fold(from, |value, field| value.get(field));
    Ok(found.unwrap_or_else(|| panic!("there is no value {word}")).clone())
}

fn apply(function: &str, arguments: &[Value], root: &Value, dot: &Value) -> Result<Value, String> {
    let numbers = || arguments.iter().map(|one| one.as_i64().unwrap_or_else(|| panic!("{one} is no number")));
    Ok(match (function, arguments) {
        ("fail", [message]) => return Err(text(message)),
        ("int" | "int64", [_]) => numbers().sum::<i64>().into(),
        ("add", _) => numbers().sum::<i64>().into(),
        ("not", [value]) => (!is_true(value)).into(),
        ("or", _) => arguments.iter().find(|one| is_true(one)).cloned().unwrap_or_default(),
        ("quote", [value]) => Value::String(text(value)).to_string().into(),
        ("toYaml", [value]) => crate::yaml::to_yaml(value).trim_end().into(),
        ("nindent", [width, value]) => {
            let pad = " ".repeat(usize::try_from(width.as_u64().unwrap()).unwrap());
            let value = text(value);
            value.lines().map(|line| format!("\n{pad}{line}")).collect::<String>().into()
        }
        (word, []) => operand(word, root, dot)?,
        _ => panic!("the function `{function}` is not known, or has other arguments"),
    })
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !value.is_empty(),
        Value::Array(value) => !value.is_empty(),
        Value::Object(value) => !value.is_empty(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Sets one value, by its path with dots.
pub(super) fn set(values: &mut Value, path: &str, value: Value) {
    let mut at = values;
    for field in path.split('.') {
        at = at.as_object_mut().unwrap().entry(field).or_insert_with(|| Map::new().into());
    }
    *at = value;
}
