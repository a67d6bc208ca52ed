//! Why the codec can't carry a type, told in words that name the serde attribute.

use crate::codec::{DecodeError, EncodeError};

/// A type that the codec can't carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("type `{type_name}`{}: {misfit}", .field.as_ref().map(|field| format!(", field `{field}`")).unwrap_or_default())]
pub struct SchemaError {
    /// The type, or the one within it that is to blame where that is known.
    pub type_name: String,
    /// The field, where it is known.
    pub field: Option<String>,
    /// What is wrong with it.
    pub misfit: Misfit,
}

/// What the codec can't carry, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// A struct that is read as a map.
    #[error("uses `#[serde(flatten)]`; bincode cannot carry it, remove it")]
    Flattened,
    /// An enum, or a type that holds any value, without a tag.
    #[error(
        "uses `#[serde(untagged)]` or a type that holds any value, such as `serde_json::Value`; bincode cannot carry \
         it, remove it"
    )]
    Untagged,
    /// An enum with its tag inside.
    #[error("uses `#[serde(tag = …)]`; bincode cannot carry it, remove it")]
    Tagged,
    /// A type that asks for names or ignores values.
    #[error("its `Deserialize` asks for names, which bincode doesn't write; derive it")]
    NotSelfDescribing,
    /// A field that is sometimes left out.
    #[error("uses `#[serde(skip_serializing_if = …)]`; bincode cannot carry it, remove it")]
    FieldSkipped,
    /// A field that is read but never written.
    #[error("uses `#[serde(skip_serializing)]`; bincode cannot carry it, use `#[serde(skip)]` or remove it")]
    FieldNotWritten,
    /// A field that is written but never read.
    #[error("uses `#[serde(skip_deserializing)]`; bincode cannot carry it, use `#[serde(skip)]` or remove it")]
    FieldNotRead,
    /// Variants are numbered differently when they are written and when they are read.
    #[error("a variant uses `#[serde(skip)]` or one of its kind; those after it are misread, remove it")]
    VariantSkipped,
    /// A value that can't be encoded.
    #[error("{0}")]
    Encode(EncodeError),
    /// A value that doesn't come back.
    #[error("what its `Serialize` writes its `Deserialize` doesn't read: {0}; derive both without serde attributes")]
    Decode(DecodeError),
    /// A value that comes back as another.
    #[error("a value comes back as another one; derive `Serialize` and `Deserialize` without serde attributes")]
    Changed,
}
