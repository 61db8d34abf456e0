//! Invariants: functions with a name that check the recorded transactions and return what is wrong.

use super::transactions::Transactions;

/// The error says what is wrong.
pub(crate) type Verdict = Result<(), String>;

/// An invariant with its name.
pub(crate) type Rule<T> = (&'static str, fn(&Transactions, &T) -> Verdict);

/// A violated invariant, which ends the run.
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) call_id: String,
    pub(crate) what: String,
}

/// Functions with their names.
macro_rules! rules {
    ($($rule:ident),* $(,)?) => { &[$((stringify!($rule), $rule)),*] };
}
pub(crate) use rules;

/// Ends the run if the invariant is violated.
pub(crate) fn enforce(rule: &'static str, call_id: &str, verdict: Verdict) {
    if let Err(what) = verdict {
        std::panic::panic_any(Violation { rule, call_id: call_id.to_owned(), what });
    }
}

/// An error if the condition is false.
pub(crate) fn must(good: bool, what: impl FnOnce() -> String) -> Verdict {
    if good { Ok(()) } else { Err(what()) }
}
