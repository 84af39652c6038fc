//! Operators, filters and methods that look at the size of a result before they make it.

use std::borrow::Cow;

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::bounded_text::{BoundedText, exceed};
use super::python::{
    Arguments, Number, Operator, Side, Tuple, Wrapping, fill_zeros, format_braces, format_json, format_percent, pad,
    round_number, split_right, wrap_line, write_text,
};
use super::template_operators::{COMPUTE, JOIN, TUPLE};
use super::template_size::{Budget, Size};

/// How large values may be, and how much may be rendered.
#[derive(Clone)]
pub(super) struct Limits {
    /// The largest value.
    pub(super) sizes: Size,
    /// What may be rendered.
    pub(super) budget: Budget,
    /// What all texts that are made out of others may have together.
    pub(super) making: Budget,
}

/// Puts filters and operators in place that know the limits.
pub(super) fn add_filters(environment: &mut Environment, limits: &Limits) {
    let sizes = limits.sizes;
    let spend = {
        let budget = limits.making.clone();
        move |text: String| -> Result<Value, Error> {
            budget.spend(text.len())?;
            Ok(Value::from(text))
        }
    };
    for name in ["batch", "slice", "pprint", "urlencode", "chain", "zip"] {
        environment.remove_filter(name);
    }
    environment.add_function(TUPLE, |values: Rest<Value>| Value::from_object(Tuple(values.to_vec())));
    environment.add_filter("items", |map: &Value| Tuple::from_pairs(&minijinja::filters::items(map)?));
    environment.add_filter("dictsort", |map: &Value, named: Kwargs| {
        Tuple::from_pairs(&minijinja::filters::dictsort(map, named)?)
    });
    environment.add_filter("round", |value: &Value, arguments: Rest<Value>| {
        let (digits, method, named): (Option<i32>, Option<Cow<'_, str>>, Kwargs) = from_args(&arguments)?;
        let digits = digits.or(named.get("precision")?).unwrap_or(0);
        let named_method: Option<Cow<'_, str>> = named.get("method")?;
        named.assert_all_used()?;
        round_number(value, digits, &method.or(named_method).unwrap_or(Cow::Borrowed("common")))
    });
    let spending = spend.clone();
    environment.add_filter("center", move |value: Value, width: Option<i128>, named: Kwargs| {
        let width = width.or(named.get("width")?).unwrap_or(80);
        named.assert_all_used()?;
        let text = sizes.write_text(&value)?;
        spending(pad(&text, width, ' ', Side::Center, sizes.bytes)?)
    });
    let spending = spend.clone();
    environment.add_filter("wordwrap", move |value: Value, arguments: Rest<Value>| {
        spending(wrap_words(&sizes, &sizes.write_text(&value)?, &arguments)?)
    });
    let spending = spend.clone();
    environment.add_function(JOIN, move |values: Rest<Value>| {
        let mut joined = BoundedText::new(sizes.bytes);
        values.iter().try_for_each(|value| {
            sizes.check(value)?;
            write_text(&mut joined, value)
        })?;
        spending(joined.finish())
    });
    let computing = limits.clone();
    environment.add_function(COMPUTE, move |chain: Rest<Value>| computing.compute(&chain));
    let formatting = limits.clone();
    environment.add_filter("format", move |text: Cow<'_, str>, arguments: Rest<Value>| {
        formatting.format_filter(&text, &arguments)
    });
    let spending = spend.clone();
    environment.add_filter("tojson", move |value: Value, arguments: Rest<Value>| {
        sizes.check(&value)?;
        spending(format_json(&value, arguments, sizes.bytes)?)
    });
    let spending = spend.clone();
    environment.add_filter("string", move |value: Value| {
        if value.as_str().is_some() {
            return Ok(value);
        }
        sizes.check(&value)?;
        spending(sizes.write_text(&value)?)
    });
    let spending = spend.clone();
    environment.add_filter("replace", move |text: Cow<'_, str>, from: Cow<'_, str>, to: Cow<'_, str>| {
        sizes.check_replaced(&text, &from, &to)?;
        spending(text.replace(&*from, &to))
    });
    let spending = spend.clone();
    environment.add_filter("join", move |values: &Value, separator: Option<Cow<'_, str>>| {
        spending(join_values(&sizes, values, separator.as_deref().unwrap_or_default())?)
    });
    environment.add_filter("indent", move |text: Cow<'_, str>, arguments: Rest<Value>| {
        let (width, first, blank, named): (Option<usize>, Option<bool>, Option<bool>, Kwargs) = from_args(&arguments)?;
        let width = width.or(named.get("width")?).unwrap_or(4);
        let first = first.or(named.get("first")?).unwrap_or(false);
        let blank = blank.or(named.get("blank")?).unwrap_or(false);
        named.assert_all_used()?;
        spend(indent_lines(&sizes, &text, width, first, blank)?)
    });
}

impl Limits {
    /// A text that was made, as a value.
    fn spend(&self, text: String) -> Result<Value, Error> {
        self.making.spend(text.len())?;
        Ok(Value::from(text))
    }

    /// Computes values with operators between them, from left to right.
    fn compute(&self, chain: &[Value]) -> Result<Value, Error> {
        let (first, rest) = chain.split_first().ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
        let mut result = first.clone();
        for pair in rest.chunks(2) {
            let [operator, right] = pair else { return Err(Error::from(ErrorKind::MissingArgument)) };
            let operator = operator.as_str().and_then(Operator::read);
            let operator = operator.ok_or_else(|| Error::from(ErrorKind::InvalidOperation))?;
            result = match (Number::read(&result), Number::read(right), operator) {
                (Some(left), Some(right), _) => left.compute(operator, right)?,
                (_, Some(Number::Integer(times)), Operator::Multiply) => self.repeat(&result, times, right)?,
                (Some(Number::Integer(times)), _, Operator::Multiply) => self.repeat(right, times, &result)?,
                (None, _, Operator::Modulo | Operator::ModuloTuple) if result.as_str().is_some() => {
                    let arguments = match operator {
                        Operator::ModuloTuple => Arguments::tuple(right.try_iter()?.collect()),
                        _ => Arguments::single(right.clone()),
                    };
                    Value::from(self.format(result.as_str().unwrap_or_default(), arguments)?)
                }
                _ => return Err(operator.refuse(&result, right)),
            };
        }
        Ok(result)
    }

    /// A text or list, so many times; none below once.
    fn repeat(&self, value: &Value, times: i128, factor: &Value) -> Result<Value, Error> {
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        if let Some(text) = value.as_str() {
            let mut repeated = BoundedText::new(self.sizes.bytes);
            self.budget.spend(text.len().saturating_mul(times))?;
            repeated.repeat(text, times)?;
            return Ok(Value::from(repeated.finish()));
        }
        if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return Err(Operator::Multiply.refuse(value, factor));
        }
        let mut once = self.sizes;
        once.add(value, 0)?;
        let items: Vec<Value> = value.try_iter()?.collect();
        let tuple = value.downcast_object_ref::<Tuple>().is_some();
        if items.is_empty() {
            return Ok(value.clone());
        }
        let (bytes, count) = (self.sizes.bytes - once.bytes, items.len().saturating_mul(times));
        if count > self.sizes.items || bytes.saturating_mul(times) > self.sizes.bytes {
            return Err(exceed("it builds a list that is too large"));
        }
        self.budget.spend(count.saturating_mul(size_of::<Value>()))?;
        let repeated: Vec<Value> = std::iter::repeat_n(&items, times).flatten().cloned().collect();
        Ok(if tuple { Value::from_object(Tuple(repeated)) } else { Value::from(repeated) })
    }

    /// Jinja's filter: `%` with values by place or by name.
    fn format_filter(&self, text: &str, arguments: &[Value]) -> Result<String, Error> {
        let (values, named): (&[Value], Kwargs) = from_args(arguments)?;
        let names: Vec<&str> = named.args().collect();
        let arguments = match (values.is_empty(), names.is_empty()) {
            (_, true) => Arguments::tuple(values.to_vec()),
            (true, false) => {
                let pairs = names.into_iter().map(|name| Ok((name.to_owned(), named.get::<Value>(name)?)));
                Arguments::single(Value::from_iter(pairs.collect::<Result<Vec<_>, Error>>()?))
            }
            (false, false) => {
                let reason = "format: values are given by place and by name";
                return Err(Error::new(ErrorKind::InvalidOperation, reason));
            }
        };
        self.format(text, arguments)
    }

    fn format(&self, text: &str, arguments: Arguments) -> Result<String, Error> {
        let formatted = format_percent(text, arguments, self.sizes.bytes)?;
        self.budget.spend(formatted.len())?;
        Ok(formatted)
    }
}

fn join_values(sizes: &Size, values: &Value, separator: &str) -> Result<String, Error> {
    let mut size = *sizes;
    let mut joined = BoundedText::new(sizes.bytes);
    for (index, value) in values.try_iter()?.enumerate() {
        size.add(&value, 0)?;
        joined.push(if index > 0 { separator } else { "" })?;
        write_text(&mut joined, &value)?;
    }
    Ok(joined.finish())
}

/// Indents all lines but the first, and empty ones, unless they are asked for (Jinja's `indent`).
fn indent_lines(size: &Size, text: &str, width: usize, first: bool, blank: bool) -> Result<String, Error> {
    let mut size = *size;
    let mut indented = String::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            indented.push('\n');
        }
        size.take(line.len() + 1)?;
        if if index == 0 { first } else { blank || !line.is_empty() } {
            size.take(width)?;
            indented.push_str(&" ".repeat(width));
        }
        indented.push_str(line);
    }
    Ok(indented)
}

/// The arguments of `wordwrap`: width, whether long words are broken, the mark between lines, whether hyphens break.
type WrapArguments<'a> = (Option<usize>, Option<bool>, Option<Cow<'a, str>>, Option<bool>, Kwargs);

/// Jinja's `wordwrap`.
fn wrap_words(size: &Size, text: &str, arguments: &[Value]) -> Result<String, Error> {
    let (width, long, mark, hyphens, named): WrapArguments<'_> = from_args(arguments)?;
    let width = width.or(named.get("width")?).unwrap_or(79);
    let long_words = long.or(named.get("break_long_words")?).unwrap_or(true);
    let named_mark: Option<Cow<'_, str>> = named.get("wrapstring")?;
    let mark = mark.or(named_mark).unwrap_or(Cow::Borrowed("\n"));
    let hyphens = hyphens.or(named.get("break_on_hyphens")?).unwrap_or(true);
    named.assert_all_used()?;
    if width == 0 {
        return Err(Error::new(ErrorKind::InvalidOperation, "wordwrap: the width must be above 0"));
    }
    let mut out = BoundedText::new(size.bytes);
    for (index, line) in split_lines(text).into_iter().enumerate() {
        out.push(if index > 0 { &mark } else { "" })?;
        for (index, part) in wrap_line(line, Wrapping { width, long_words, hyphens }).iter().enumerate() {
            out.push(if index > 0 { &mark } else { "" })?;
            out.push(part)?;
        }
    }
    Ok(out.finish())
}

/// The lines of a text, at what Python's `splitlines` takes for their ends.
fn split_lines(text: &str) -> Vec<&str> {
    let ends = |c: char| matches!(c, '\n'..='\r' | '\u{1C}'..='\u{1E}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        lines.push(&rest[..at]);
        let end = if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(1, char::len_utf8) };
        rest = &rest[at + end..];
    }
    lines.extend((!rest.is_empty()).then_some(rest));
    lines
}

/// Python's `rsplit`.
fn split_text(limits: &Limits, text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, most, named): (Option<Value>, Option<i128>, Kwargs) = from_args(arguments)?;
    let named_separator: Option<Value> = named.get("sep")?;
    let separator = separator.or(named_separator).filter(|separator| !separator.is_none());
    let most = most.or(named.get("maxsplit")?).and_then(|most| usize::try_from(most).ok());
    named.assert_all_used()?;
    let refuse = |reason| Error::new(ErrorKind::InvalidOperation, reason);
    let separator = match &separator {
        None => None,
        Some(separator) => match separator.as_str() {
            Some("") => return Err(refuse("rsplit: the separator is empty")),
            Some(separator) => Some(separator),
            None => return Err(refuse("rsplit: the separator is no text")),
        },
    };
    let parts = split_right(text, separator, most);
    if parts.len() > limits.sizes.items {
        return Err(exceed("it builds a list that is too large"));
    }
    limits.making.spend(text.len().saturating_add(parts.len().saturating_mul(size_of::<Value>())))?;
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Python's methods of texts, lists and dictionaries.
pub(super) fn call_method(
    limits: &Limits,
    state: &State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let size = &limits.sizes;
    match (value.as_str(), method, arguments) {
        (Some(text), "replace", [from, to, ..]) => {
            if let (Some(from), Some(to)) = (from.as_str(), to.as_str()) {
                limits.making.spend(size.check_replaced(text, from, to)?)?;
            }
        }
        (Some(separator), "join", [values]) => return limits.spend(join_values(size, values, separator)?),
        (Some(text), "center" | "ljust" | "rjust", _) => {
            let (width, fill): (i128, Option<char>) = from_args(arguments)?;
            let side = match method {
                "center" => Side::Center,
                "ljust" => Side::Left,
                _ => Side::Right,
            };
            return limits.spend(pad(text, width, fill.unwrap_or(' '), side, size.bytes)?);
        }
        (Some(text), "zfill", _) => {
            let (width,): (i128,) = from_args(arguments)?;
            return limits.spend(fill_zeros(text, width, size.bytes)?);
        }
        (Some(text), "rsplit", _) => return split_text(limits, text, arguments),
        (None, "items", []) if value.kind() == ValueKind::Map => {
            return Tuple::from_pairs(&unknown_method_callback(state, value, method, arguments)?);
        }
        (Some(text), "format", _) => {
            let (values, named): (&[Value], Kwargs) = from_args(arguments)?;
            let find = |name: &str| named.has(name).then(|| named.get::<Value>(name).ok()).flatten();
            let formatted = format_braces(text, values, &find, size.bytes)?;
            limits.budget.spend(formatted.len())?;
            return Ok(Value::from(formatted));
        }
        _ => {}
    }
    unknown_method_callback(state, value, method, arguments)
}
