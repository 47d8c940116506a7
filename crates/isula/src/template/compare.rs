//! `eq`, `ne`, `lt`, `le`, `gt` and `ge`.

use std::cmp::Ordering;

use super::functions::kind;
use crate::json::Value;

/// Whether the first argument equals any of the others.
pub(super) fn equal(arguments: &[&Value]) -> Result<Value, String> {
    let Some((first, others)) = arguments.split_first() else {
        return Err("missing argument for comparison".to_owned());
    };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        let same = match (first, other) {
            (Value::Null, other) => matches!(other, Value::Null),
            (_, Value::Null) => false,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
                return Err("non-comparable type".to_owned());
            }
            (first, other) => ordering(first, other)? == Ordering::Equal,
        };
        if same {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// Whether the two arguments stand in an order.
pub(super) fn order(arguments: &[&Value], holds: fn(Ordering) -> bool) -> Result<Value, String> {
    match arguments {
        [a, b] => ordering(a, b).map(|order| Value::Bool(holds(order))),
        _ => Err("missing argument for comparison".to_owned()),
    }
}

/// Numbers compare with numbers whatever their form: JSON does not tell 1 from 1.0.
fn ordering(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            let float = |value: &Value| match value {
                Value::Int(number) => *number as f64,
                Value::Float(number) => *number,
                _ => f64::NAN,
            };
            let order = float(a).partial_cmp(&float(b));
            order.ok_or_else(|| "invalid type for comparison".to_owned())
        }
        (Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) | Value::Method(_), _) => {
            Err("invalid type for comparison".to_owned())
        }
        (a, b) => Err(format!("incompatible types for comparison: {} and {}", kind(a), kind(b))),
    }
}
