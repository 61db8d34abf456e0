//! Feature codes: numbers that a user dials to change the own rules.

use location::Aor;

/// The codes; those that are `None` are off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    /// Followed by a number: all calls go there.
    pub forward_always: Option<Box<str>>,
    /// Ends that.
    pub forward_off: Option<Box<str>>,
    /// Do not disturb.
    pub dnd_on: Option<Box<str>>,
    /// Ends that.
    pub dnd_off: Option<Box<str>>,
}

/// What a code changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeCommand {
    /// All calls go to this name or number.
    ForwardAlways(Aor),
    /// Calls are not forwarded.
    ForwardOff,
    /// Do not disturb.
    DoNotDisturb(bool),
}

impl Codes {
    /// The change that a dialled name asks for.
    pub(crate) fn read(&self, name: &Aor) -> Option<CodeCommand> {
        let is = |code: &Option<Box<str>>| code.as_ref().is_some_and(|code| code.as_bytes() == name.user());
        // The exact ones first: `#21` may be the beginning of another.
        if is(&self.forward_off) {
            return Some(CodeCommand::ForwardOff);
        }
        if is(&self.dnd_on) || is(&self.dnd_off) {
            return Some(CodeCommand::DoNotDisturb(is(&self.dnd_on)));
        }
        let to = name.user().strip_prefix(self.forward_always.as_ref()?.as_bytes())?;
        (!to.is_empty()).then(|| CodeCommand::ForwardAlways(Aor::new(to, name.domain())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_recognised() {
        let code = |text: &str| Some(text.into());
        let codes =
            Codes { forward_always: code("*21"), forward_off: code("#21"), dnd_on: code("*78"), dnd_off: code("*79") };
        let aor = |user: &str| Aor::new(user.as_bytes(), b"office.example");
        for (dialled, expected) in [
            ("*21102", Some(CodeCommand::ForwardAlways(aor("102")))),
            ("#21", Some(CodeCommand::ForwardOff)),
            ("*78", Some(CodeCommand::DoNotDisturb(true))),
            ("*79", Some(CodeCommand::DoNotDisturb(false))),
            ("*21", None),
            ("*781", None),
            ("102", None),
        ] {
            assert_eq!(codes.read(&aor(dialled)), expected, "{dialled}");
            assert_eq!(Codes::default().read(&aor(dialled)), None, "{dialled}");
        }
    }
}
