//! A setting that may be left out.

use serde_json::Value as Json;

use crate::setting::{Kind, Literal, Raw, Refusal, Sensitivity};

/// A value of the inner kind, or nothing.
pub(crate) struct Optional<K>(pub(crate) K);

impl<T, K: Kind<T>> Kind<Option<T>> for Optional<K> {
    fn parse(&self, raw: &Raw<'_>) -> Result<Option<T>, Refusal> {
        self.0.parse(raw).map(Some)
    }

    fn absent(&self) -> Option<Option<T>> {
        Some(None)
    }

    fn show(&self, value: &Option<T>) -> Option<Literal> {
        self.0.show(value.as_ref()?)
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }

    fn example(&self) -> Literal {
        self.0.example()
    }

    fn sensitivity(&self) -> Sensitivity {
        self.0.sensitivity()
    }
}
