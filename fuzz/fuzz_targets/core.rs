//! A script of messages, answers and clock steps into the core of a registrar and proxy; `Office` explains the language.
#![no_main]

use fuzz::Office;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| Office::run(script));
