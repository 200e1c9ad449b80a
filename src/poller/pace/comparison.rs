//! What calls for all show about the hot descriptors.

/// The number of hot descriptors that one call must find, or of calls in a row that find no fewer
/// hot ones than others, before the hot ones are asked alone again.
const ENOUGH: usize = 8;

/// The comparison of what is ready with the hot descriptors, in a busy loop in which the last try
/// to ask those alone has failed.
///
/// A try costs a sleep if only others are ready. A busy loop asks all without sleeping anyway, and
/// what it finds tells as much. No descriptor becomes cold meanwhile. So if activity goes round some
/// descriptors, all of these become hot. If it goes round all descriptors, too many become hot, and
/// they are not asked alone.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// The number of calls in a row that have found no fewer hot descriptors than others.
    hits: usize,
}

impl Comparison {
    /// Notes the numbers of descriptors that a call for all has found: of those that were hot
    /// before, and of the others. Returns whether the hot ones are worth asking alone.
    pub(super) fn found(&mut self, hot: usize, others: usize) -> bool {
        self.hits = match hot >= others {
            true => self.hits + 1,
            false => 0,
        };
        self.hits.max(hot) >= ENOUGH
    }
}
