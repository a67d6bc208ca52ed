//! Values that are recorded and never shown. What marks them is a name in the schema, and the printers look for it;
//! nothing here encrypts.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name under which serde, and so every schema, sees a [`Secret`]. No type of a user's is called so by a derive.
pub(crate) const SECRET_SERDE_NAME: &str = "qnfsm::Secret";

/// A value that is carried and recorded like any other, and that nothing shows: neither `Debug` nor a replay's report of a
/// difference nor `qnfsm dump`, as text or as JSON.
///
/// Wrap what must not stand in a terminal or in a bug report: passwords, tokens, keys, names of people. It can be anywhere in an
/// FSM's data, its states and its messages.
///
/// ```
/// use qnfsm::{Codec, Secret, schema::{Printer, Schema}};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Login { name: String, password: Secret<String> }
///
/// let login = Login { name: "ada".to_owned(), password: "lovelace".to_owned().into() };
/// assert_eq!(format!("{login:?}"), r#"Login { name: "ada", password: Secret(…) }"#);
/// assert_eq!(login.password.expose(), "lovelace");
///
/// let mut bytes = Vec::new();
/// Codec::CURRENT.encode(&login, &mut bytes)?;
/// let printer = Printer::new(Schema::of::<Login>(&[])?.json());
/// assert_eq!(printer.text(&bytes, 100), r#"Login { name: "ada", password: Secret(…) }"#);
/// assert_eq!(printer.json(&bytes, 100), r#"{"name":"ada","password":"(secret)"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it isn't
///
/// Its bytes stand in the journal and in snapshots as they are, and go to other workers and over sockets: who may read these files
/// has them (they are made readable for their owner alone). Nor is it shown that two secrets differ in more than that they do.
/// Bytes that don't fit a schema which holds a secret are not shown in hex either. Two things are out of its reach: what a
/// handler itself prints or panics with, and a type that stays *opaque* before its secret was seen, of which
/// [`Kinds::seal`](crate::Kinds::seal) warns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Marks a value as secret.
    #[must_use]
    pub const fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value. It is asked for by name, so that a search finds each place that could show it.
    #[must_use]
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, to change it.
    #[must_use]
    pub const fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }

    /// The value, which is marked no longer.
    #[must_use]
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Secret<T> {
        Secret(value)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<T: Serialize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(SECRET_SERDE_NAME, &self.0)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret<T>, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Secret<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Secret<T>, D::Error> {
                T::deserialize(deserializer).map(Secret)
            }
        }
        deserializer.deserialize_newtype_struct(SECRET_SERDE_NAME, Visitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Trust};

    #[test]
    fn a_secret_has_the_bytes_of_what_it_holds() {
        let (mut bare, mut secret) = (Vec::new(), Vec::new());
        let value = ("token".to_owned(), 300_u64);
        Codec::CURRENT.encode(&value, &mut bare).expect("a text and a number");
        Codec::CURRENT.encode(&Secret::new(value.clone()), &mut secret).expect("a text and a number");
        assert_eq!(bare, secret);
        assert_eq!(Codec::CURRENT.decode(&secret, Trust::Peer), Ok(Secret::new(value)));
    }

    #[test]
    fn debug_says_nothing_of_it() {
        assert_eq!(format!("{:?} {:#?}", Secret::new(7), Secret::new("x")), "Secret(…) Secret(…)");
    }
}
