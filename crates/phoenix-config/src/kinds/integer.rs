//! Whole numbers.

use serde_json::{Value as Json, json};

use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::WorkerCount,
};

/// A whole number between two bounds, both allowed.
pub(crate) struct Integer<T> {
    pub(crate) min: T,
    pub(crate) max: T,
}

impl Kind<u8> for Integer<u8> {
    fn parse(&self, raw: &Raw<'_>) -> Result<u8, Refusal> {
        let number = whole_number(raw, u64::from(self.min), u64::from(self.max))?;
        Ok(u8::try_from(number).unwrap_or(self.max))
    }

    fn show(&self, value: &u8) -> Option<Literal> {
        Some(Literal::Integer(i64::from(*value)))
    }

    fn describe(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn schema(&self) -> Json {
        json!({"type": "integer", "minimum": self.min, "maximum": self.max})
    }
}

impl Kind<u32> for Integer<u32> {
    fn parse(&self, raw: &Raw<'_>) -> Result<u32, Refusal> {
        let number = whole_number(raw, u64::from(self.min), u64::from(self.max))?;
        Ok(u32::try_from(number).unwrap_or(self.max))
    }

    fn show(&self, value: &u32) -> Option<Literal> {
        Some(Literal::Integer(i64::from(*value)))
    }

    fn describe(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn schema(&self) -> Json {
        json!({"type": "integer", "minimum": self.min, "maximum": self.max})
    }
}

impl Kind<usize> for Integer<usize> {
    fn parse(&self, raw: &Raw<'_>) -> Result<usize, Refusal> {
        let number = whole_number(raw, self.min as u64, self.max as u64)?;
        Ok(usize::try_from(number).unwrap_or(self.max))
    }

    fn show(&self, value: &usize) -> Option<Literal> {
        Some(Literal::Integer(i64::try_from(*value).unwrap_or(i64::MAX)))
    }

    fn describe(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn schema(&self) -> Json {
        json!({"type": "integer", "minimum": self.min, "maximum": self.max})
    }
}

/// A number of threads up to a bound; 0 leaves it to the machine.
pub(crate) struct Workers {
    pub(crate) max: usize,
}

impl Workers {
    const fn number(&self) -> Integer<usize> {
        Integer { min: 0, max: self.max }
    }
}

impl Kind<WorkerCount> for Workers {
    fn parse(&self, raw: &Raw<'_>) -> Result<WorkerCount, Refusal> {
        self.number().parse(raw).map(WorkerCount::from_number)
    }

    fn show(&self, value: &WorkerCount) -> Option<Literal> {
        self.number().show(&value.number())
    }

    fn describe(&self) -> String {
        self.number().describe()
    }

    fn schema(&self) -> Json {
        self.number().schema()
    }
}

/// Reads a whole number between two bounds, both allowed.
pub(super) fn whole_number(raw: &Raw<'_>, min: u64, max: u64) -> Result<u64, Refusal> {
    let number: i128 = match raw {
        Raw::Toml(Literal::Integer(number)) => i128::from(*number),
        Raw::Text(text) => {
            text.trim().parse().map_err(|_| Refusal::because("it is not a whole number in decimal digits"))?
        }
        Raw::Toml(Literal::Text(text)) => {
            let refusal = Refusal::wrong_type(raw, "an integer");
            let is_number = text.trim().parse::<i128>().is_ok();
            return Err(if is_number { refusal.remedy("write it without quotes") } else { refusal });
        }
        Raw::Toml(_) | Raw::Unsupported(_) => return Err(Refusal::wrong_type(raw, "an integer")),
    };
    match u64::try_from(number) {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(number) if number > max => {
            Err(Refusal::because(format!("it is above the largest number allowed, {max}")))
        }
        Err(_) if number > 0 => {
            Err(Refusal::because(format!("it is above the largest number allowed, {max}")))
        }
        Ok(_) | Err(_) => Err(Refusal::because(format!("it is below the smallest number allowed, {min}"))),
    }
}
