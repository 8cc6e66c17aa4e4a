//! The ids of requests: short, unique within a bottle's life, and no secret.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Differs from one start to the next.
static START: LazyLock<String> = LazyLock::new(|| {
    let random = RandomState::new().build_hasher().finish();
    format!("{:08x}", random & 0xffff_ffff)
});

static COUNT: AtomicU64 = AtomicU64::new(1);

/// The next id.
pub(crate) fn next() -> String {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count:x}", *START)
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn two_ids_differ_and_share_the_start() {
        let (one, two) = (next(), next());
        assert_ne!(one, two);
        assert_eq!(one.split_once('-').unwrap().0, two.split_once('-').unwrap().0);
    }
}
