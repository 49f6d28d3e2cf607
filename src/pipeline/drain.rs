//! Takes what a drive reads to a consumer on another thread, so that the drive does not wait.

use std::{error::Error, thread};

use crate::cancel::Cancel;
use crate::pipeline::ring::{Over, Ring};
use crate::pipeline::{Flow, Settings};

/// What reading into a slot came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill<T> {
    /// So many bytes, and what the consumer has to know about them.
    Block(usize, T),
    /// There is no more.
    End,
}

/// Why a drain ended early.
#[derive(Debug, thiserror::Error)]
pub enum DrainError<R: Error + 'static, C: Error + 'static> {
    /// The reading side's failure. What was read before it has been consumed.
    #[error(transparent)]
    Reader(R),
    /// The consumer's failure.
    #[error(transparent)]
    Consumer(C),
    /// The operator wants to stop.
    #[error("stopped")]
    Cancelled,
}

/// Calls `fill` on this thread, again and again, with room for a block, and `consume` on another
/// with what came, in order, until `fill` says that there is no more or `consume` wants none.
///
/// # Errors
///
/// The first failure of either side, or the operator's wish to stop. A failure of the reading side
/// comes after all that it read was consumed, unless the consumer failed too.
pub fn drain<T, R, C>(
    settings: Settings,
    cancel: &Cancel,
    mut fill: impl FnMut(&mut [u8]) -> Result<Fill<T>, R>,
    mut consume: impl FnMut(T, &[u8]) -> Result<Flow, C> + Send,
) -> Result<(), DrainError<R, C>>
where
    T: Send,
    R: Error + 'static,
    C: Error + Send + 'static,
{
    let ring = Ring::<T>::new(&settings);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let result = consume_all(&ring, cancel, &mut consume);
            // Also when it wants no more, so that the producer does not wait for it.
            ring.close();
            result
        });
        let filled = {
            // Also when `fill` panics: the consumer must not wait for it.
            let _end = End(&ring);
            fill_all(&ring, cancel, &mut fill)
        };
        let consumed = match consumer.join() {
            Ok(consumed) => consumed,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        consumed.map_err(DrainError::Consumer)?;
        filled.map_err(DrainError::Reader)?;
        if cancel.is_set() { Err(DrainError::Cancelled) } else { Ok(()) }
    })
}

/// Closes the ring when the producer ends, however it does.
struct End<'a, T>(&'a Ring<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn fill_all<T, R>(
    ring: &Ring<T>,
    cancel: &Cancel,
    fill: &mut impl FnMut(&mut [u8]) -> Result<Fill<T>, R>,
) -> Result<(), R> {
    // `Err` here means that the consumer wants no more, or the operator.
    while let Ok(mut slot) = ring.free(cancel) {
        match fill(slot.room())? {
            Fill::Block(bytes, tag) => {
                slot.filled = bytes;
                ring.push(Some(slot), tag);
            }
            Fill::End => break,
        }
    }
    Ok(())
}

fn consume_all<T, C>(
    ring: &Ring<T>,
    cancel: &Cancel,
    consume: &mut impl FnMut(T, &[u8]) -> Result<Flow, C>,
) -> Result<(), C> {
    loop {
        let message = match ring.next(cancel) {
            Ok(message) => message,
            Err(Over::Closed | Over::Cancelled) => return Ok(()),
        };
        let slot = message.slot.expect("every message has a slot");
        let flow = consume(message.tag, slot.bytes())?;
        ring.taken(slot.filled);
        ring.give_back(slot);
        if flow == Flow::Stop {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const SETTINGS: Settings =
        Settings { block_bytes: 64, ring_bytes: 512, start_percent: 0, guard: None };

    #[derive(Debug, thiserror::Error, PartialEq)]
    #[error("bad block")]
    struct Bad;

    /// Yields `count` blocks of one byte, the block's number, then fails or ends.
    fn source(count: u8, fails: bool) -> impl FnMut(&mut [u8]) -> Result<Fill<u8>, Bad> {
        let mut next = 0;
        move |room| {
            if next == count {
                return if fails { Err(Bad) } else { Ok(Fill::End) };
            }
            room[0] = next;
            next += 1;
            Ok(Fill::Block(1, next))
        }
    }

    #[test]
    fn blocks_arrive_in_order_with_their_tags() {
        for fails in [false, true] {
            let mut got = Vec::new();
            let result = drain(SETTINGS, &Cancel::new(), source(200, fails), |tag, bytes| {
                got.push((tag, bytes.to_vec()));
                Ok::<_, Infallible>(Flow::Continue)
            });
            assert_eq!(matches!(result, Err(DrainError::Reader(Bad))), fails);
            let expected: Vec<_> = (0..200).map(|n| (n + 1, vec![n])).collect();
            assert!(got == expected, "what came before a failure is consumed");
        }
    }

    #[test]
    fn a_consumer_may_stop_or_fail() {
        let mut seen = 0;
        drain(SETTINGS, &Cancel::new(), source(200, false), |_, _| {
            seen += 1;
            Ok::<_, Infallible>(if seen == 7 { Flow::Stop } else { Flow::Continue })
        })
        .unwrap();
        assert_eq!(seen, 7);
        let result =
            drain(SETTINGS, &Cancel::new(), source(200, false), |_, _| Err::<Flow, _>(Bad));
        assert!(matches!(result, Err(DrainError::Consumer(Bad))));
    }

    #[test]
    fn the_operator_may_stop() {
        let cancel = Cancel::new();
        let result = drain(SETTINGS, &cancel, source(200, false), |_, _| {
            cancel.set();
            Ok::<_, Infallible>(Flow::Continue)
        });
        assert!(matches!(result, Err(DrainError::Cancelled)));
    }
}
