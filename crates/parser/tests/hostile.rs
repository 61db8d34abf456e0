//! Nothing looks at an octet as often as there are octets: a clockless guard beside `benches/hostile.rs`. The messages
//! are so large that a square would keep this test busy for minutes; a straight line takes it a moment.

#[path = "../benches/hostile/inputs.rs"]
mod inputs;

use parser::{ErrorKind, Message};

const SIZE: usize = 1 << 17;

#[test]
fn no_square_in_any_header() {
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
fn no_square_elsewhere() {
    for (name, message) in inputs::elsewhere(SIZE) {
        println!("{name}");
        inputs::parse(&message);
        inputs::frame(&message, 1 << 10);
        inputs::read(&message);
        inputs::write(&message, &mut Vec::new());
    }
}

#[test]
fn lines_beyond_the_most_cost_no_memory() {
    let shape = inputs::SHAPES.iter().find(|shape| shape.name == "header lines").unwrap();
    let message = Message::parse(shape.message(SIZE)).unwrap();
    assert_eq!(message.lines().len(), Message::MAX_LINES);
    assert_eq!(message.defect().map(|defect| defect.kind), Some(ErrorKind::TooManyLines));
}
