//! An iterator that is some way ahead of whoever uses it, on a thread of its own.

use std::thread::Scope;

use crossbeam_channel::{Receiver, bounded};

/// Items handed over at once, so that waking the other side costs little for each.
const BATCH: usize = 256;
/// Batches that wait to be used.
const WAITING: usize = 4;

/// Has `items` made on another thread of `scope`. It ends there when nobody wants more.
pub(super) fn ahead<'scope, I>(
    scope: &'scope Scope<'scope, '_>,
    mut items: I,
) -> impl Iterator<Item = I::Item> + use<I>
where
    I: Iterator<Item: Send + 'static> + Send + 'scope,
{
    let (sender, receiver) = bounded(WAITING);
    scope.spawn(move || {
        loop {
            let batch: Vec<_> = items.by_ref().take(BATCH).collect();
            if batch.is_empty() || sender.send(batch).is_err() {
                return;
            }
        }
    });
    receiver.into_iter().flatten()
}

/// Where items go one by one that another thread uses.
pub(super) struct Outlet<T> {
    sender: crossbeam_channel::Sender<Vec<T>>,
    batch: Vec<T>,
}

/// The other side is gone, and knows why.
pub(super) struct Unwanted;

impl<T> Outlet<T> {
    /// An outlet, and what comes out of it.
    pub(super) fn new() -> (Self, Receiver<Vec<T>>) {
        let (sender, receiver) = bounded(WAITING);
        (Self { sender, batch: Vec::with_capacity(BATCH) }, receiver)
    }

    pub(super) fn push(&mut self, item: T) -> Result<(), Unwanted> {
        self.batch.push(item);
        if self.batch.len() < BATCH { Ok(()) } else { self.flush() }
    }

    pub(super) fn flush(&mut self) -> Result<(), Unwanted> {
        let full = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.sender.send(full).map_err(|_| Unwanted)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn all_items_come_in_order_and_none_is_made_in_vain_for_long() {
        let mut made = 0;
        thread::scope(|scope| {
            let items = (0..10_000).inspect(|_| made += 1);
            let came: Vec<i32> = ahead(scope, items).take(3000).collect();
            assert_eq!(came, (0..3000).collect::<Vec<_>>());
        });
        assert!(made < 10_000, "{made}");
        let all: Vec<i32> = thread::scope(|scope| ahead(scope, 0..1000).collect());
        assert_eq!(all.len(), 1000);
    }
}
