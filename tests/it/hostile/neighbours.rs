//! Guests that spin beside others, of one author and of many.

use std::time::{Duration, Instant};

use at_functions::dev::Published;
use serde_json::json;

use crate::arena::*;
use crate::modules::*;
use crate::world::World;

/// How long a fast function may take beside them, half of the times and nearly always.
const HALF: Duration = Duration::from_millis(30);
const NEARLY_ALL: Duration = Duration::from_millis(150);
/// How long the first call of a function may take beside them.
const COLD: Duration = Duration::from_secs(2);
/// How long they are looked at.
const LOOK: Duration = Duration::from_secs(2);

impl Arena {
    /// Once all these calls of spinners run: calls the bystander again and again, one call after the
    /// other, and then a function that nobody has called before. When all has been seen, the spinners'
    /// callers go away.
    async fn others_are_served_beside(&self, whom: &str, spinners: impl ExactSizeIterator<Item: Future>) {
        let count = spinners.len() as u64;
        let spinning = async {
            futures_util::future::join_all(spinners).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = spinning => {}
            () = self.others_are_served(whom, count) => {}
        }
    }

    async fn others_are_served(&self, whom: &str, spinners: u64) {
        self.until(RUNS, |now| now >= spinners).await;
        let began = Instant::now();
        let mut took = Vec::new();
        while began.elapsed() < LOOK {
            let sent = Instant::now();
            self.bystander_is_served().await;
            took.push(sent.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        took.sort();
        self.within(&format!("half of the calls beside {whom}"), took[took.len() / 2], HALF);
        self.within(&format!("95% of the calls beside {whom}"), took[took.len() * 95 / 100], NEARLY_ALL);
        let began = Instant::now();
        assert_eq!(self.attack(&seven(), LONG).await.output(), &json!(7));
        self.within(&format!("a cold call beside {whom}"), began.elapsed(), COLD);
    }
}

/// A function that answers 7, and spins for its 5 s where its input is longer than an empty object.
fn spinner_of(author: &World) -> Published {
    let text = module(
        &format!("{PAGE} (data (i32.const 8) \"7\")"),
        "i32.const 1024",
        &format!(
            "(if (i32.gt_u (local.get $length) (i32.const 2)) (then (loop $forever (br $forever)))) {}",
            output_at(8, 1)
        ),
    );
    author.publish_record("spinner", &wasm(&text), |record| {
        record["maxDurationMs"] = 5_000.into();
        record["maxMemoryMb"] = 1.into();
    })
}

pub(crate) async fn spinners_of_one_author_delay_nobody(arena: &Arena) {
    let author = arena.stranger().await;
    let spinner = spinner_of(&author);
    assert_eq!(author.run(&spinner.uri, json!({})).await.output(), &json!(7));
    let calls = (0..4).map(|_| author.run(&spinner.uri, json!("spin")));
    arena.others_are_served_beside("spinners of one author", calls).await;
}

pub(crate) async fn spinners_of_twenty_authors_delay_nobody(arena: &Arena) {
    let mut authors = Vec::new();
    for _ in 0..20 {
        let author = arena.stranger().await;
        let spinner = spinner_of(&author);
        assert_eq!(author.run(&spinner.uri, json!({})).await.output(), &json!(7));
        authors.push((author, spinner));
    }
    let calls = authors.iter().map(|(author, spinner)| author.run(&spinner.uri, json!("spin")));
    arena.others_are_served_beside("spinners of twenty authors", calls).await;
}
