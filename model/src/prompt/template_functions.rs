//! Operators, filters and methods that look at the size of a result before they make it.

use std::borrow::Cow;

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::bounded_text::{BoundedText, exceed};
use super::python::{Arguments, Number, Operator, format_braces, format_json, format_percent, write_text};
use super::template_operators::{COMPUTE, JOIN};
use super::template_size::{Budget, Size};

/// How large values may be, and how much may be rendered.
#[derive(Clone)]
pub(super) struct Limits {
    /// The largest value.
    pub(super) sizes: Size,
    /// What all of them may have together.
    pub(super) budget: Budget,
}

/// Puts filters and operators in place that know the limits.
pub(super) fn add_filters(environment: &mut Environment, limits: &Limits) {
    let sizes = limits.sizes;
    for name in ["batch", "slice", "pprint", "urlencode", "chain", "zip"] {
        environment.remove_filter(name);
    }
    environment.add_function(JOIN, move |values: Rest<Value>| {
        let mut joined = BoundedText::new(sizes.bytes);
        values.iter().try_for_each(|value| {
            sizes.check(value)?;
            write_text(&mut joined, value)
        })?;
        Ok(Value::from(joined.finish()))
    });
    let computing = limits.clone();
    environment.add_function(COMPUTE, move |chain: Rest<Value>| computing.compute(&chain));
    let formatting = limits.clone();
    environment.add_filter("format", move |text: Cow<'_, str>, arguments: Rest<Value>| {
        formatting.format_filter(&text, &arguments)
    });
    environment.add_filter("tojson", move |value: Value, arguments: Rest<Value>| {
        sizes.check(&value)?;
        format_json(&value, arguments, sizes.bytes)
    });
    environment.add_filter("string", move |value: Value| {
        if value.as_str().is_some() {
            return Ok(value);
        }
        sizes.check(&value)?;
        sizes.write_text(&value).map(Value::from)
    });
    environment.add_filter("replace", move |text: Cow<'_, str>, from: Cow<'_, str>, to: Cow<'_, str>| {
        sizes.check_replaced(&text, &from, &to).map(|()| text.replace(&*from, &to))
    });
    environment.add_filter("join", move |values: &Value, separator: Option<Cow<'_, str>>| {
        join_values(&sizes, values, separator.as_deref().unwrap_or_default())
    });
    environment.add_filter("indent", move |text: Cow<'_, str>, arguments: Rest<Value>| {
        let (width, first, blank, named): (Option<usize>, Option<bool>, Option<bool>, Kwargs) = from_args(&arguments)?;
        let width = width.or(named.get("width")?).unwrap_or(4);
        let first = first.or(named.get("first")?).unwrap_or(false);
        let blank = blank.or(named.get("blank")?).unwrap_or(false);
        named.assert_all_used()?;
        indent_lines(&sizes, &text, width, first, blank)
    });
}

impl Limits {
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
        if items.is_empty() {
            return Ok(Value::from_iter(items));
        }
        let (bytes, count) = (self.sizes.bytes - once.bytes, items.len().saturating_mul(times));
        if count > self.sizes.items || bytes.saturating_mul(times) > self.sizes.bytes {
            return Err(exceed("it builds a list that is too large"));
        }
        self.budget.spend(count.saturating_mul(size_of::<Value>()))?;
        Ok(Value::from_iter(std::iter::repeat_n(&items, times).flatten().cloned()))
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
                size.check_replaced(text, from, to)?;
            }
        }
        (Some(separator), "join", [values]) => return join_values(size, values, separator).map(Value::from),
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
