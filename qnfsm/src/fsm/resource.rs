//! Resources: large tables that all FSMs of a process read and none changes. What one is, what its content hashes to, and those
//! that a program has.
//!
//! A resource is named by its hash: that stands in journals, and the table itself never does. What a handler reads of one is
//! neither recorded nor digested, because it is the same wherever the hash is.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::Arc,
};

use serde::Serialize;

use crate::{
    codec::{Codec, EncodeError},
    digest::Digest,
};

/// A large table that all FSMs read and none changes: prices, a map, a trained model.
///
/// It is registered with [`Kinds::resource`](crate::Kinds::resource), shared by all workers, and read with
/// [`Context::resource`](crate::Context::resource). Its name and its [hash](Resource::content_hash) stand in the journal, so
/// what was recorded with one table is never run again with another unseen.
///
/// It must not change once it is registered: nothing in it may be behind a lock, a cell or an atomic that a reader can tell.
/// A new table takes effect with the next start of the node. What changes while the node runs is a message, or an
/// [`External`](crate::External) value.
pub trait Resource: Send + Sync + 'static {
    /// Its name. It stands in journals: keep it when you rename or move the type.
    const NAME: &'static str;

    /// The hash of all that a handler can read of it, computed once, when it is registered: mostly
    /// [`ContentHash::of_bytes`] of the file that it was read from, or [`ContentHash::of_value`] of itself.
    ///
    /// It must be the same in each process and each build for the same content. So it depends on no `Hash` of Rust's, whose
    /// values may differ from one compiler to the next, nor on addresses or the order of a `HashMap`.
    fn content_hash(&self) -> ContentHash;
}

/// The hash of a resource's content. It finds accidents and not forgeries: who has to fear these hashes the bytes with
/// a cryptographic hash, and gives that to [`ContentHash::of_bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentHash(Result<u64, EncodeError>);

impl ContentHash {
    /// Of bytes that say all of the content: those of the file that it was read from.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> ContentHash {
        ContentHash(Ok(Digest::of(bytes)))
    }

    /// Of a value, which is all of the content: of the bytes that the codec makes of it, for which there has to be memory
    /// meanwhile. A `HashMap` in it would come in another order in each process; take a `BTreeMap`. A value that the codec
    /// refuses is an error of [`Kinds::seal`](crate::Kinds::seal).
    #[must_use]
    pub fn of_value<T: Serialize + ?Sized>(value: &T) -> ContentHash {
        let mut bytes = Vec::new();
        ContentHash(Codec::CURRENT.encode(value, &mut bytes).map(|()| Digest::of(&bytes)))
    }

    pub(crate) fn number(self) -> Result<u64, EncodeError> {
        self.0
    }
}

/// The resources that a program has, by their types. They are few.
#[derive(Default, Clone)]
pub(crate) struct Resources(Vec<(TypeId, Arc<dyn Any + Send + Sync>)>);

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resources").field(&self.0.len()).finish()
    }
}

impl Resources {
    pub(crate) fn add<T: Resource>(&mut self, resource: Arc<T>) {
        self.0.push((TypeId::of::<T>(), resource));
    }

    /// The one of that type.
    pub(crate) fn see<T: Resource>(&self) -> Option<&T> {
        let (_, resource) = self.0.iter().find(|(of, _)| *of == TypeId::of::<T>())?;
        resource.downcast_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_has_the_same_hash_in_every_build() {
        // Journals hold these numbers; this one was computed apart from this code.
        let of_value = ContentHash::of_value(&vec![1_u64, 300]);
        assert_eq!(of_value, ContentHash::of_bytes(&[2, 1, 251, 44, 1]));
        assert_eq!(of_value.number(), Ok(0x7c42_db8f_d513_6b9d));
    }

    #[test]
    fn a_value_that_the_codec_refuses_has_no_hash() {
        assert!(ContentHash::of_value(&vec![(); 5000]).number().is_err());
    }
}
