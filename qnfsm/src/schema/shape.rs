//! The shape of a type: its formats without what the types in it are called. Bytes of one type are read as another of the same shape, so
//! this is what a schema's hash is of. Names of fields and variants belong to it; they say what a value means, and readers show them.
//! So does which type is a secret and which a queue, because the codec and whoever shows values go by that.

use std::collections::BTreeMap;

use serde_reflection::{Format, FormatHolder, Registry};

use super::Traced;
use crate::{id::QUEUE_ID_SERDE_NAME, secret::SECRET_SERDE_NAME};

/// The types of which the name says more than what they are called.
const KEPT: [&str; 2] = [SECRET_SERDE_NAME, QUEUE_ID_SERDE_NAME];

/// The formats with numbers in place of types' names, in the order in which they are first mentioned, from the root on.
pub(super) fn shape(traced: &Traced) -> Traced {
    let mut numbers = Numbers::default();
    let root = numbers.put(&traced.root);
    let (mut types, mut at) = (Registry::new(), 0);
    while let Some(name) = numbers.names.get(at) {
        let label = numbers.labels[name].clone();
        if let Some(format) = traced.types.get(name) {
            let format = numbers.put(format);
            types.insert(label, format);
        }
        at += 1;
    }
    Traced { root, types }
}

/// The names that were mentioned so far.
#[derive(Default)]
struct Numbers {
    /// In order.
    names: Vec<String>,
    /// What stands in their place.
    labels: BTreeMap<String, String>,
}

impl Numbers {
    fn put<F: FormatHolder + Clone>(&mut self, of: &F) -> F {
        let mut numbered = of.clone();
        let named = numbered.visit_mut(&mut |format| {
            if let Format::TypeName(name) = format {
                *name = self.label(name);
            }
            Ok(())
        });
        named.expect("formats of a registry are known, and no visit of these fails");
        numbered
    }

    fn label(&mut self, name: &str) -> String {
        if let Some(label) = self.labels.get(name) {
            return label.clone();
        }
        // A generic type may have its arguments in angle brackets.
        let base = name.split('<').next().unwrap_or(name);
        let kept = KEPT.into_iter().find(|kept| *kept == base).unwrap_or("");
        let label = format!("{kept}#{}", self.names.len());
        self.names.push(name.to_owned());
        self.labels.insert(name.to_owned(), label.clone());
        label
    }
}
