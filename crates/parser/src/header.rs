//! The [`Header`] trait, a typed view of one header value, and the iterator over the values of a message. The grammar
//! of each header is in its file under `headers/`.

use std::marker::PhantomData;

use crate::{Element, ErrorKind, HeaderName, Message, Occurs, ParseError, Values};

/// A header value parsed from a message's octets, borrowing from them.
pub trait Header<'a>: Sized {
    /// The name of the header. Its row in the table says how often the header may occur.
    const NAME: HeaderName;
    /// The elements of a value, in order, by which the position of a fault is found. Empty if a fault is always
    /// reported at the start of the value.
    const SHAPE: &'static [Element];

    /// Parses one value, or one element of a list: trimmed, without the header's name.
    ///
    /// # Errors
    /// The kind of fault, by the header's grammar.
    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind>;
}

/// Every `H` of a message, in order, see [`Message::headers`]. A named type without drop glue, so that the borrow of
/// the message ends with its last use.
#[derive(Debug)]
pub struct Headers<'a, H> {
    message: &'a Message,
    values: Values<'a>,
    header: PhantomData<fn() -> H>,
}

impl<'a, H: Header<'a>> Headers<'a, H> {
    pub(crate) fn new(message: &'a Message) -> Self {
        let values = message.values_of(H::NAME, const { matches!(H::NAME.occurs(), Occurs::List) });
        Self { message, values, header: PhantomData }
    }
}

impl<'a, H: Header<'a>> Iterator for Headers<'a, H> {
    type Item = Result<H, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.values.next().map(|value| self.message.typed(value))
    }
}
