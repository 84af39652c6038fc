//! Floats in digits, as Python writes them.

/// Decimal places beyond which every f64 has only zeros: the smallest is `2⁻¹⁰⁷⁴`.
const MAX_PLACES: usize = 1074;

/// The shortest digits that give `value` back, as Python's `repr` places them: with an exponent of at least two digits
/// below 1e-4 and from 1e16 on; `nan`, `inf`.
pub(in crate::prompt) fn format_float(value: f64) -> String {
    if !value.is_finite() {
        return name_special(value).to_owned();
    }
    let shortest = format!("{value:e}");
    let exponent: i32 = shortest.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    let digits = shortest.split('e').next().unwrap_or_default();
    format!("{digits}{}", write_exponent(exponent))
}

/// `nan`, `inf` or `-inf`.
pub(super) fn name_special(value: f64) -> &'static str {
    match (value.is_nan(), value > 0.0) {
        (true, _) => "nan",
        (false, true) => "inf",
        (false, false) => "-inf",
    }
}

/// `value` with so many decimal places (`%f`); `value` is finite and not negative.
pub(super) fn write_fixed(value: f64, places: usize) -> String {
    let mut text = format!("{value:.*}", places.min(MAX_PLACES));
    text.extend(std::iter::repeat_n('0', places.saturating_sub(MAX_PLACES)));
    text
}

/// One digit, so many decimal places and an exponent (`%e`); `value` is finite and not negative.
pub(super) fn write_scientific(value: f64, places: usize) -> String {
    let (mut digits, exponent) = split_scientific(value, places.min(MAX_PLACES));
    digits.extend(std::iter::repeat_n('0', places.saturating_sub(MAX_PLACES)));
    digits + &write_exponent(exponent)
}

/// The shorter of both, with so many significant digits (`%g`): with an exponent below 1e-4, and where there are more
/// digits before the point than `digits`, or with `fraction` as many. Zeros at the end are kept where `zeros` says so.
/// `fraction` asks for a digit after the point, as Python's `format` without a type does.
pub(super) fn write_general(value: f64, digits: usize, zeros: bool, fraction: bool) -> String {
    let digits = digits.max(1);
    let counted = digits.min(MAX_PLACES);
    let (mantissa, exponent) = split_scientific(value, counted - 1);
    let last = counted as i32 - i32::from(fraction);
    let scientific = exponent < -4 || exponent >= last;
    let mut text = if scientific { mantissa } else { write_fixed(value, (counted as i32 - 1 - exponent) as usize) };
    if zeros {
        if !text.contains('.') {
            text.push('.');
        }
        text.extend(std::iter::repeat_n('0', digits - counted));
    } else if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if scientific {
        return text + &write_exponent(exponent);
    }
    if fraction && !text.contains('.') {
        text.push_str(".0");
    }
    text
}

/// The digits before the exponent, and it.
fn split_scientific(value: f64, places: usize) -> (String, i32) {
    let text = format!("{value:.places$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

/// An exponent of a sign and at least two digits.
fn write_exponent(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_in_python() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (100.0, "100.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-1.25e20, "-1.25e+20"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_float(value), expected);
        }
    }

    #[test]
    fn places_beyond_the_last_are_zeros() {
        let long = write_fixed(0.1, 2000);
        assert!(long.len() == 2002 && long.ends_with("0000"));
        assert_eq!(write_scientific(1.0, 1100).len(), 1 + 1 + 1100 + 4);
        assert_eq!(write_general(1.0, 2000, true, false).len(), 2001);
    }
}
