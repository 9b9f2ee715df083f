//! How long a page, which nothing proves, is given without asking again.

use super::*;

/// A door of a registry that keeps what is proved for so long.
fn door(world: &World, ttl: Duration) -> RunDoor {
    let reads = Reads::of(None, UndeclaredReads::Any);
    let registry = registry_that_keeps(world, ttl);
    RunDoor::new(registry, reads, world.author.did().clone(), tokio::runtime::Handle::current())
}

#[tokio::test]
async fn a_page_is_given_again_for_three_seconds_and_then_asked_for_anew() {
    let world = World::start().await;
    put(&world.author, "a", &json!({ "$type": POST }), []);
    // Records are kept much longer.
    let door = door(&world, LONG * 100);
    let (did, begun) = (world.author.did().to_string(), Instant::now());
    while world.asked("listRecords") < 2 {
        assert!(begun.elapsed() < LONG * 10, "never asked anew");
        assert_eq!(page(ask(&door, list(&did, None, 5)).await).0, ["a"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It was kept from some time after the beginning. Its clock is not this one.
    let asked_anew = begun.elapsed();
    assert!(asked_anew >= Duration::from_millis(2_990), "{asked_anew:?}");
}

#[tokio::test]
async fn where_records_are_not_kept_pages_are_not_either() {
    let world = World::start().await;
    put(&world.author, "a", &json!({ "$type": POST }), []);
    let (door, did) = (door(&world, Duration::ZERO), world.author.did().to_string());
    for asked in 1..4 {
        page(ask(&door, list(&did, None, 5)).await);
        assert_eq!(world.asked("listRecords"), asked);
    }
}
