//! No quadratic work on hostile messages: like `benches/hostile.rs`, but without measuring time. The messages are so
//! large that quadratic work would take minutes, while linear work takes less than a few seconds.

#[path = "../benches/hostile/inputs.rs"]
mod inputs;

use parser::{ErrorKind, Message};

const SIZE: usize = 1 << 17;

#[test]
fn no_header_takes_quadratic_time() {
    let mut out = Vec::new();
    for shape in inputs::SHAPES {
        let message = shape.message(SIZE);
        println!("{}", shape.name);
        inputs::parse(&message);
        inputs::frame(&message, 1 << 10);
        inputs::read(&message);
        inputs::write(&message, &mut out);
    }
}

#[test]
fn no_other_part_takes_quadratic_time() {
    for (name, message) in inputs::other_messages(SIZE) {
        println!("{name}");
        inputs::parse(&message);
        inputs::frame(&message, 1 << 10);
        inputs::read(&message);
        inputs::write(&message, &mut Vec::new());
    }
}

#[test]
fn lines_above_the_maximum_are_not_stored() {
    let shape = inputs::SHAPES.iter().find(|shape| shape.name == "header lines").unwrap();
    let message = Message::parse(shape.message(SIZE)).unwrap();
    assert_eq!(message.lines().len(), Message::MAX_LINES);
    assert_eq!(message.defect().map(|defect| defect.kind), Some(ErrorKind::TooManyLines));
}
