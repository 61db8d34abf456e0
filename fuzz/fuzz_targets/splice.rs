//! Two messages of a dialog, spliced into a third that comes from somebody else; `splice` explains the language.
#![no_main]

use fuzz::splice;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| splice(input));
