//! What `print`, `printf` and an action's own output look like, as Go's package fmt writes it.

use super::functions::kind;
use super::quote::quote;
use crate::json::Value;

/// The text of an action's value: `%v`, and `<no value>` for nothing.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        value => plain(value),
    }
}

/// `fmt.Sprint`: a space between operands of which neither is a text.
pub(super) fn print(arguments: &[&Value]) -> String {
    let mut out = String::new();
    let mut after_text = true;
    for (index, value) in arguments.iter().enumerate() {
        let text = matches!(value, Value::String(_));
        if index > 0 && !text && !after_text {
            out.push(' ');
        }
        after_text = text;
        out.push_str(&plain(value));
    }
    out
}

/// `fmt.Sprintln`.
pub(super) fn println(arguments: &[&Value]) -> String {
    let texts: Vec<String> = arguments.iter().map(|value| plain(value)).collect();
    texts.join(" ") + "\n"
}

/// `%v`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null | Value::Method(_) => "<nil>".to_owned(),
        Value::Bool(bit) => bit.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => float(*number),
        Value::String(text) => text.clone(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Map(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// `%v` of a float is `%g` with the fewest digits; from 1e6 on it has an exponent.
fn float(number: f64) -> String {
    let size = number.abs();
    if number.is_finite() && number != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    number.to_string()
}

/// Flags, width and precision of one verb.
#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// `fmt.Sprintf`.
pub(super) fn printf(template: &str, arguments: &[&Value]) -> String {
    let mut out = String::new();
    let mut arguments_left = arguments.iter();
    let mut characters = template.chars().peekable();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = characters.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
            match flag {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        let number = |characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
                      left: &mut std::slice::Iter<'_, &Value>| {
            if characters.next_if_eq(&'*').is_some() {
                return match left.next() {
                    Some(Value::Int(width)) => usize::try_from(*width).ok(),
                    _ => None,
                };
            }
            let mut number = None;
            while let Some(digit) = characters.peek().and_then(|c| c.to_digit(10)) {
                characters.next();
                number = Some(number.unwrap_or(0_usize).saturating_mul(10) + digit as usize);
            }
            number
        };
        spec.width = number(&mut characters, &mut arguments_left);
        if characters.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut characters, &mut arguments_left).unwrap_or(0));
        }
        /// Go's own limit of a width.
        const WIDEST: usize = 1_000_000;
        let too_wide = |size: Option<usize>| size.is_some_and(|size| size > WIDEST);
        match characters.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(_) if too_wide(spec.width) => out.push_str("%!(BADWIDTH)"),
            Some(_) if too_wide(spec.precision) => out.push_str("%!(BADPREC)"),
            Some(verb) => match arguments_left.next() {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => out.push_str(&one(&spec, verb, value)),
            },
        }
    }
    let extra: Vec<String> =
        arguments_left.map(|value| format!("{}={}", kind(value), plain(value))).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn one(spec: &Spec, verb: char, value: &Value) -> String {
    if let Value::List(items) = value
        && !matches!(verb, 'T' | 'p')
    {
        let items: Vec<String> = items.iter().map(|item| one(spec, verb, item)).collect();
        return format!("[{}]", items.join(" "));
    }
    let text = match (verb, value) {
        ('v', Value::Int(_)) => integer(spec, 'd', value),
        ('v', Value::Float(_)) if spec.precision.is_some() => real(spec, 'g', value),
        ('v', Value::String(text)) if spec.sharp => Some(quote(text)),
        ('v', value) => Some(plain(value)),
        ('s', Value::String(text)) => Some(cut(spec, text)),
        ('q', Value::String(text)) => Some(quote(&cut(spec, text))),
        ('x' | 'X', Value::String(text)) => Some(hexadecimal(verb, text)),
        ('t', Value::Bool(bit)) => Some(bit.to_string()),
        ('T', value) => Some(kind(value).to_owned()),
        ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Float(_)) => real(spec, verb, value),
        ('d' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U', Value::Int(_)) => {
            integer(spec, verb, value)
        }
        _ => None,
    };
    match text {
        Some(text) => padded(spec, text, matches!(value, Value::Int(_) | Value::Float(_))),
        None if matches!(value, Value::Null) => format!("%!{verb}(<nil>)"),
        None => format!("%!{verb}({}={})", kind(value), plain(value)),
    }
}

fn cut(spec: &Spec, text: &str) -> String {
    text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect()
}

fn hexadecimal(verb: char, text: &str) -> String {
    let byte = |byte: u8| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
    text.bytes().map(byte).collect()
}

fn signed(spec: &Spec, negative: bool, digits: String) -> String {
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    format!("{sign}{digits}")
}

fn integer(spec: &Spec, verb: char, value: &Value) -> Option<String> {
    let Value::Int(number) = value else { return None };
    let size = number.unsigned_abs();
    let character = || u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    let digits = match verb {
        'c' => return Some(character().to_string()),
        'q' => return Some(format!("'{}'", character().escape_debug())),
        'U' => return Some(format!("U+{size:04X}")),
        'd' => size.to_string(),
        'b' if spec.sharp => format!("0b{size:b}"),
        'b' => format!("{size:b}"),
        'o' if spec.sharp => format!("0{size:o}"),
        'o' => format!("{size:o}"),
        'O' => format!("0o{size:o}"),
        'x' if spec.sharp => format!("0x{size:x}"),
        'x' => format!("{size:x}"),
        'X' if spec.sharp => format!("0X{size:X}"),
        'X' => format!("{size:X}"),
        _ => return None,
    };
    let missing = spec.precision.unwrap_or(0).saturating_sub(digits.len());
    Some(signed(spec, *number < 0, "0".repeat(missing) + &digits))
}

fn real(spec: &Spec, verb: char, value: &Value) -> Option<String> {
    let Value::Float(number) = value else { return None };
    let size = number.abs();
    let exponent = |text: String| {
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    let digits = match verb {
        'f' | 'F' => format!("{size:.*}", spec.precision.unwrap_or(6)),
        'e' => exponent(format!("{size:.*e}", spec.precision.unwrap_or(6))),
        'E' => exponent(format!("{size:.*e}", spec.precision.unwrap_or(6))).to_uppercase(),
        verb => {
            let text = spec.precision.map_or_else(|| float(size), |most| significant(size, most));
            if verb == 'G' { text.to_uppercase() } else { text }
        }
    };
    Some(signed(spec, number.is_sign_negative(), digits))
}

/// `%.3g`: at most so many digits that count, without zeros at the end.
fn significant(size: f64, most: usize) -> String {
    let rounded = format!("{size:.*e}", most.max(1) - 1).parse().unwrap_or(size);
    let exponent = if rounded == 0.0 { 0.0 } else { f64::floor(f64::log10(rounded)) };
    if (-4.0..most.max(1) as f64).contains(&exponent) {
        return rounded.to_string();
    }
    let text = format!("{rounded:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn padded(spec: &Spec, text: String, number: bool) -> String {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    if spec.minus {
        return text + &" ".repeat(missing);
    }
    if spec.zero && number {
        let (sign, digits) = match text.strip_prefix(['-', '+', ' ']) {
            Some(digits) => (text.chars().next(), digits),
            None => (None, text.as_str()),
        };
        let sign: String = sign.into_iter().collect();
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    " ".repeat(missing) + &text
}
