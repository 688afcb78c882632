//! What is allowed: windows, and how long a client that exceeds one is blocked. Knows no client and no time.

use std::time::Duration;

/// Most windows of one rule.
pub const MAX_WINDOWS: usize = 4;
/// Largest limit of a window: an exact log holds this many entries of 8 bytes for a busy client.
pub const MAX_LIMIT: u32 = 10_000;
/// Longest window, and longest block.
pub const MAX_SPAN: Duration = Duration::from_hours(31 * 24);
/// Most units that one decision can cost.
pub const MAX_COST: u32 = 1_000;

/// At most `limit` units in any stretch of time as long as `span`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    /// Units.
    pub limit: u32,
    /// Length. An admission at `t` counts before `t + span` and no longer at it.
    pub span: Duration,
}

/// Windows, all of which must have room, and a block for who exceeds one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    windows: Vec<Window>,
    block: Option<Duration>,
}

/// A rule that cannot work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// No window.
    #[error("a rule needs at least one window")]
    NoWindow,
    /// Too many windows.
    #[error("a rule has at most {MAX_WINDOWS} windows")]
    TooManyWindows,
    /// A limit of zero, or one that is too large.
    #[error("a limit must be from 1 to {MAX_LIMIT}")]
    Limit,
    /// A span of zero, of parts of a microsecond, or one that is too long.
    #[error("a window must be longer than zero, at most 31 days, and whole microseconds")]
    Span,
    /// A block of zero, or one that is too long.
    #[error("a block must be longer than zero, at most 31 days, and whole microseconds")]
    Block,
    /// A window that another one makes pointless: at least as long, and with at least as large a limit as a longer one.
    #[error("a window with a limit that a longer window of the rule does not exceed has no effect")]
    Pointless,
}

impl Rule {
    /// Windows in any order; none may make another pointless.
    ///
    /// # Errors
    /// When the rule cannot work.
    pub fn new(windows: &[Window], block: Option<Duration>) -> Result<Self, RuleError> {
        let whole =
            |time: Duration| !time.is_zero() && time <= MAX_SPAN && time.subsec_nanos().is_multiple_of(1_000);
        if windows.is_empty() {
            return Err(RuleError::NoWindow);
        }
        if windows.len() > MAX_WINDOWS {
            return Err(RuleError::TooManyWindows);
        }
        if windows.iter().any(|window| window.limit == 0 || window.limit > MAX_LIMIT) {
            return Err(RuleError::Limit);
        }
        if windows.iter().any(|window| !whole(window.span)) {
            return Err(RuleError::Span);
        }
        if block.is_some_and(|block| !whole(block)) {
            return Err(RuleError::Block);
        }
        let mut windows = windows.to_vec();
        windows.sort_by_key(|window| window.span);
        let pointless = |pair: &[Window]| pair[0].span == pair[1].span || pair[0].limit >= pair[1].limit;
        if windows.windows(2).any(pointless) {
            return Err(RuleError::Pointless);
        }
        Ok(Self { windows, block })
    }

    /// From the shortest to the longest; longer ones have larger limits.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// How long a client is refused after it asked for more than a window holds. Without, until the window has room.
    #[must_use]
    pub const fn block(&self) -> Option<Duration> {
        self.block
    }

    /// The longest window: what is older need not be kept.
    #[must_use]
    pub fn longest(&self) -> Window {
        self.windows[self.windows.len() - 1]
    }

    /// The same rule with limits `factor` times as large, at least 1 and at most [`MAX_LIMIT`].
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to a range that fits; NaN becomes 1"
        )]
        let scale = |limit: u32| (f64::from(limit) * factor).clamp(1.0, f64::from(MAX_LIMIT)) as u32;
        let windows = self.windows.iter().map(|w| Window { limit: scale(w.limit).max(1), ..*w }).collect();
        Self { windows, ..self.clone() }
    }
}
