//! One word of a closed list.

use std::marker::PhantomData;

use serde_json::{Value as Json, json};

use super::text;
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    suggest::nearest,
    values::Choices,
};

/// A word of the list that `T` declares.
pub(crate) struct Choice<T>(PhantomData<fn() -> T>);

impl<T: Choices> Choice<T> {
    pub(crate) const NEW: Self = Self(PhantomData);

    fn words() -> impl Iterator<Item = &'static str> {
        T::ALL.iter().map(|(word, _)| *word)
    }
}

impl<T: Choices> Kind<T> for Choice<T> {
    fn parse(&self, raw: &Raw<'_>) -> Result<T, Refusal> {
        let text = text(raw)?;
        let found = T::ALL.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let refusal = Refusal::because("it is not one of the words this setting knows");
            match nearest(text, Self::words()) {
                Some(word) => refusal.remedy(format!("did you mean \"{word}\"? Use {}", self.describe())),
                None => refusal,
            }
        })
    }

    fn show(&self, value: &T) -> Option<Literal> {
        T::ALL.iter().find(|(_, known)| known == value).map(|(word, _)| Literal::Text((*word).to_owned()))
    }

    fn describe(&self) -> String {
        let words: Vec<String> = Self::words().map(|word| format!("\"{word}\"")).collect();
        words.join(" or ")
    }

    fn schema(&self) -> Json {
        json!({"enum": Self::words().collect::<Vec<_>>()})
    }
}
