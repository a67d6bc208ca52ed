//! Whether a value is as it is wanted. Integers are exact, of whichever width, beside floats too.

use std::cmp::Ordering;

use qnfsm::schema::{Content, Fields};

use super::expression::{Literal, Order};

/// True if the value that was found is so. An option is what it holds, and a newtype too.
pub(super) fn is_so(found: &Content, order: Order, literal: &Literal) -> bool {
    if let Literal::None = literal {
        return match found {
            Content::Option(content) => match order {
                Order::Is => content.is_none(),
                Order::IsNot => content.is_some(),
                _ => false,
            },
            _ => false,
        };
    }
    match found {
        Content::Option(Some(content)) => return is_so(content, order, literal),
        Content::Struct(_, Fields::One(content)) => return is_so(content, order, literal),
        _ => {}
    }
    let compared = match (found, literal) {
        (Content::Text(text), Literal::Text(wanted)) => Some(text.as_str().cmp(wanted)),
        (Content::Char(letter), Literal::Text(wanted)) => Some(letter.to_string().cmp(wanted)),
        (Content::Bool(value), Literal::Bool(wanted)) => Some(value.cmp(wanted)),
        (Content::Queue(queue), Literal::Queue(wanted)) => Some(queue.cmp(wanted)),
        (Content::Variant(name, _), Literal::Name(wanted)) => Some(name.cmp(wanted)),
        (found, literal) => return number(found, literal).is_some_and(|compared| allows(order, compared)),
    };
    let has_order = matches!(found, Content::Text(_) | Content::Char(_));
    (has_order || matches!(order, Order::Is | Order::IsNot)) && compared.is_some_and(|compared| allows(order, compared))
}

fn allows(order: Order, compared: Ordering) -> bool {
    match order {
        Order::Is => compared.is_eq(),
        Order::IsNot => compared.is_ne(),
        Order::Less => compared.is_lt(),
        Order::AtMost => compared.is_le(),
        Order::More => compared.is_gt(),
        Order::AtLeast => compared.is_ge(),
    }
}

/// An integer of up to 128 bits, with a sign or without. Zero isn't negative.
#[derive(Debug, Clone, Copy)]
struct Whole {
    is_negative: bool,
    magnitude: u128,
}

impl Whole {
    fn new(is_negative: bool, magnitude: u128) -> Whole {
        Whole { is_negative: is_negative && magnitude != 0, magnitude }
    }

    fn cmp(self, other: Whole) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.magnitude.cmp(&other.magnitude),
            (true, true) => other.magnitude.cmp(&self.magnitude),
            (is_negative, _) => {
                if is_negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }

    /// None, beside what is no number.
    fn cmp_float(self, float: f64) -> Option<Ordering> {
        if float.is_nan() {
            return None;
        }
        let whole = float.abs().trunc();
        if whole >= 2_f64.powi(128) {
            return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole, not negative, and below 2^128"
        )]
        let other = Whole::new(float < 0.0, whole as u128);
        let beyond = if float < 0.0 { Ordering::Greater } else { Ordering::Less };
        let has_fraction = whole < float.abs();
        Some(self.cmp(other).then(if has_fraction { beyond } else { Ordering::Equal }))
    }
}

/// How a number that was found stands to the one that is wanted; none, if one of them is none.
fn number(found: &Content, literal: &Literal) -> Option<Ordering> {
    let found = match found {
        Content::Signed(value) => Whole::new(*value < 0, value.unsigned_abs()),
        Content::Unsigned(value) => Whole::new(false, *value),
        Content::F64(value) => return float(*value, literal),
        Content::F32(value) => {
            // A person who writes 0.1 means the nearest float of 32 bits.
            #[expect(clippy::cast_possible_truncation, reason = "what is nearest is wanted")]
            return match literal {
                Literal::Float(wanted) => value.partial_cmp(&(*wanted as f32)),
                literal => float(f64::from(*value), literal),
            };
        }
        _ => return None,
    };
    match literal {
        Literal::Integer { is_negative, magnitude } => Some(found.cmp(Whole::new(*is_negative, *magnitude))),
        Literal::Float(wanted) => found.cmp_float(*wanted),
        _ => None,
    }
}

fn float(found: f64, literal: &Literal) -> Option<Ordering> {
    match literal {
        Literal::Integer { is_negative, magnitude } => {
            Whole::new(*is_negative, *magnitude).cmp_float(found).map(Ordering::reverse)
        }
        Literal::Float(wanted) => found.partial_cmp(wanted),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: i128) -> Literal {
        Literal::Integer { is_negative: value < 0, magnitude: value.unsigned_abs() }
    }

    #[test]
    fn integers_are_exact_where_floats_are_not() {
        let near = (1_u128 << 53) + 1;
        assert!(!is_so(&Content::Unsigned(near), Order::Is, &Literal::Float(9_007_199_254_740_992.0)));
        assert!(is_so(&Content::Unsigned(near), Order::More, &Literal::Float(9_007_199_254_740_992.0)));
        assert!(is_so(
            &Content::F64(9_007_199_254_740_992.0),
            Order::Less,
            &Literal::Integer { is_negative: false, magnitude: near }
        ));
        assert!(is_so(&Content::Unsigned(u128::MAX), Order::Less, &Literal::Float(2_f64.powi(128))));
        assert!(is_so(&Content::Signed(i128::MIN), Order::Is, &Literal::Float(-(2_f64.powi(127)))));
        assert!(is_so(
            &Content::Signed(i128::MIN),
            Order::Less,
            &Literal::Integer { is_negative: true, magnitude: i128::MIN.unsigned_abs() - 1 }
        ));
        assert!(is_so(&Content::Signed(-2), Order::Less, &Literal::Float(-1.5)));
        assert!(is_so(&Content::Signed(-1), Order::More, &Literal::Float(-1.5)));
        assert!(is_so(&Content::F32(0.1), Order::Is, &Literal::Float(0.1)));
        assert!(is_so(&Content::Signed(0), Order::Is, &Literal::Integer { is_negative: true, magnitude: 0 }));
    }

    #[test]
    fn what_is_no_number_is_never_so() {
        for order in Order::ALL {
            assert!(!is_so(&Content::F64(f64::NAN), *order, &Literal::Float(0.0)));
            assert!(!is_so(&Content::F64(f64::NAN), *order, &integer(0)));
            assert!(!is_so(&Content::Text("1".into()), *order, &integer(1)));
            assert!(!is_so(&Content::Secret, *order, &Literal::Text("x".into())));
        }
    }

    #[test]
    fn options_and_newtypes_are_what_they_hold() {
        let some = |content| Content::Option(Some(Box::new(content)));
        let newtype = Content::Struct("Meters".into(), Fields::One(Box::new(Content::Unsigned(3))));
        assert!(is_so(&some(newtype), Order::Is, &integer(3)));
        assert!(is_so(&some(Content::Unit), Order::IsNot, &Literal::None));
        assert!(is_so(&Content::Option(None), Order::Is, &Literal::None));
        assert!(!is_so(&Content::Option(None), Order::IsNot, &integer(3)), "what isn't there is never so");
        assert!(!is_so(&Content::Bool(true), Order::More, &Literal::Bool(false)), "these have no order");
    }
}
