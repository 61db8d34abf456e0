//! What an invariant is: a function with a name that looks at the journal and says what is wrong.

use super::journal::Journal;

/// Nothing, or what is wrong.
pub(crate) type Verdict = Result<(), String>;

/// An invariant by name.
pub(crate) type Rule<T> = (&'static str, fn(&Journal, &T) -> Verdict);

/// A broken invariant: the one thing that stops a run.
pub(crate) struct Broken {
    pub(crate) rule: &'static str,
    pub(crate) call_id: String,
    pub(crate) what: String,
}

/// Functions with their names.
macro_rules! rules {
    ($($rule:ident),* $(,)?) => { &[$((stringify!($rule), $rule)),*] };
}
pub(crate) use rules;

/// Stops the run if the verdict is bad.
pub(crate) fn enforce(rule: &'static str, call_id: &str, verdict: Verdict) {
    if let Err(what) = verdict {
        std::panic::panic_any(Broken { rule, call_id: call_id.to_owned(), what });
    }
}

/// A verdict from a condition.
pub(crate) fn must(good: bool, what: impl FnOnce() -> String) -> Verdict {
    if good { Ok(()) } else { Err(what()) }
}
