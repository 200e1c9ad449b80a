//! Output that is produced when there is room for it.

use std::fmt;
use std::io::{self, Read};

use crate::error::Result;
use crate::sys::fd::MAX_SLICES;

/// A source of output that is pulled piece by piece, as fast as the peer takes it. asynchat's
/// producers.
///
/// ```
/// use fdloop::{Producer, Result};
///
/// struct Countdown(u8);
/// impl Producer for Countdown {
///     fn more(&mut self) -> Result<Vec<u8>> {
///         if self.0 == 0 {
///             return Ok(Vec::new());
///         }
///         self.0 -= 1;
///         Ok(format!("{}\n", self.0 + 1).into_bytes())
///     }
/// }
/// assert_eq!(Countdown(3).more()?, b"3\n");
/// # Ok::<(), fdloop::Error>(())
/// ```
pub trait Producer: 'static {
    /// Returns the next piece, of any size. An empty piece ends the producer, which is not
    /// called again.
    ///
    /// # Errors
    ///
    /// Any error; the channel's `handle_error` gets it. The earlier pieces are still sent, and
    /// the rest is missing. If the channel goes on, the output sent after this producer
    /// follows. (A panic that the loop catches has the same effect.)
    fn more(&mut self) -> Result<Vec<u8>>;
}

/// The reason to stop pulling from a producer.
pub(super) enum Pulled {
    /// The pieces are enough for one write.
    Enough,
    /// The producer has ended.
    End,
}

/// Pulls pieces from a producer until they have `bytes` bytes, the producer ends, or one write
/// cannot take more pieces.
pub(super) fn pull(
    producer: &mut dyn Producer,
    bytes: usize,
    pieces: &mut Vec<Vec<u8>>,
) -> Result<Pulled> {
    let mut gathered = 0;
    while gathered < bytes && pieces.len() < MAX_SLICES {
        let piece = producer.more()?;
        if piece.is_empty() {
            return Ok(Pulled::End);
        }
        gathered += piece.len();
        pieces.push(piece);
    }
    Ok(Pulled::Enough)
}

/// A producer of the pieces of a buffer. asynchat's `simple_producer`.
///
/// ```
/// use fdloop::{Producer, SimpleProducer};
///
/// let mut producer = SimpleProducer::new("abcde").buffer_size(3);
/// assert_eq!(producer.more()?, b"abc");
/// assert_eq!(producer.more()?, b"de");
/// assert_eq!(producer.more()?, b"");
/// # Ok::<(), fdloop::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SimpleProducer {
    data: Vec<u8>,
    given: usize,
    buffer_size: usize,
}

impl SimpleProducer {
    /// Makes a producer of `data`, in pieces of 512 bytes.
    pub fn new(data: impl Into<Vec<u8>>) -> Self {
        Self {
            data: data.into(),
            given: 0,
            buffer_size: 512,
        }
    }

    /// Sets the size of a piece in bytes; at least 1.
    #[must_use]
    pub fn buffer_size(mut self, bytes: usize) -> Self {
        self.buffer_size = bytes.max(1);
        self
    }
}

impl Producer for SimpleProducer {
    fn more(&mut self) -> Result<Vec<u8>> {
        let rest = &self.data[self.given..];
        let piece = rest[..rest.len().min(self.buffer_size)].to_vec();
        self.given += piece.len();
        Ok(piece)
    }
}

/// A producer of the items of an iterator. Empty items are skipped.
#[derive(Debug, Clone)]
pub struct IterProducer<I>(I);

impl<I> IterProducer<I>
where
    I: Iterator,
    I::Item: Into<Vec<u8>>,
{
    /// Makes a producer of the items of `items`.
    pub fn new(items: impl IntoIterator<IntoIter = I>) -> Self {
        Self(items.into_iter())
    }
}

impl<I> Producer for IterProducer<I>
where
    I: Iterator + 'static,
    I::Item: Into<Vec<u8>>,
{
    fn more(&mut self) -> Result<Vec<u8>> {
        let mut pieces = self.0.by_ref().map(Into::into);
        Ok(pieces.find(|piece| !piece.is_empty()).unwrap_or_default())
    }
}

/// A producer of a reader's data, up to end of file.
///
/// The loop waits for each read, so this is for readers that do not block for long: regular
/// files, buffers, and decoders of these.
pub struct ReadProducer<R> {
    reader: R,
    buffer_size: usize,
}

impl<R: Read> ReadProducer<R> {
    /// Makes a producer of the data of `reader`, in pieces of at most 65,536 bytes.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer_size: 65536,
        }
    }

    /// Sets the maximum size of a piece in bytes; at least 1.
    #[must_use]
    pub fn buffer_size(mut self, bytes: usize) -> Self {
        self.buffer_size = bytes.max(1);
        self
    }
}

impl<R: Read + 'static> Producer for ReadProducer<R> {
    /// # Errors
    ///
    /// The errors of the reader, except `Interrupted`, after which the read is repeated.
    fn more(&mut self) -> Result<Vec<u8>> {
        let mut piece = vec![0; self.buffer_size];
        loop {
            match self.reader.read(&mut piece) {
                Ok(n) => {
                    piece.truncate(n);
                    return Ok(piece);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<R> fmt::Debug for ReadProducer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadProducer")
            .field("buffer_size", &self.buffer_size)
            .finish_non_exhaustive()
    }
}
