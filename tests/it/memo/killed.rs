//! A function that was there when its worker died.
#![cfg(target_os = "linux")]

use std::fs;

use super::*;
use crate::network::Service;
use crate::patience::soon;

/// The processes below this one that were started for this role.
fn children(parent: u32, role: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let is_one = |&process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        let arguments = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        of == Some(parent) && arguments.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes())
    };
    processes.filter(is_one).collect()
}

#[tokio::test]
async fn a_function_under_suspicion_is_run_and_not_recalled() {
    let mut started = None;
    let world = World::around(async |origin| {
        let service = Service::try_start_among(origin, origin, &["--isolation=process"]).await.unwrap();
        let names = (service.url(), service.did());
        started = Some(service);
        names
    })
    .await;
    let service = started.unwrap();
    let caller = world.caller(1);
    // Answers 7, but spins on long inputs.
    let run = format!(
        "(if (i32.gt_u (local.get $length) (i32.const 9)) (then (loop $forever (br $forever)))) i64.const {}",
        8_u64 << 32 | 1
    );
    let edit = |record: &mut Value| record["maxDurationMs"] = 5_000.into();
    let function = world.publish_record("f", &module(&run), edit).uri;
    assert_eq!(source(&world.run_as(&caller, &function, json!(1)).await), "cold");
    assert_eq!(source(&world.run_as(&caller, &function, json!(1)).await), "memo");

    let is_told = async |figure: &str| {
        let text = world.client.get(format!("{}/metrics", service.admin_url())).send().await.unwrap();
        let text = text.text().await.unwrap();
        text.lines().any(|line| line == figure)
    };
    let kill = async {
        soon(async || is_told("at_functions_instances 1").await).await;
        let workers = children(service.pid(), "worker");
        for &worker in &workers {
            let worker = rustix::process::Pid::from_raw(worker.try_into().unwrap()).unwrap();
            rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
        }
        // Nobody is seated in one that is gone. How many deaths that are is not told: one that was only starting is a
        // failed start.
        let gone = || workers.iter().all(|worker| !fs::exists(format!("/proc/{worker}")).unwrap());
        soon(async || gone() && !is_told("at_functions_worker_deaths_total 0").await).await;
    };
    let (lost, ()) = tokio::join!(world.run_as(&caller, &function, json!("0123456789")), kill);
    assert_eq!(lost.error(), (503, "NotEnoughResources"), "{lost:?}");

    // Its next call is its trial, whatever it answered before. The spare worker was killed too: until the service
    // knows, a trial may be lost in it.
    let mut trial = world.run_as(&caller, &function, json!(1)).await;
    for _ in 0..2 {
        if trial.status == 200 {
            break;
        }
        assert_eq!(trial.error(), (503, "NotEnoughResources"), "{trial:?}");
        trial = world.run_as(&caller, &function, json!(1)).await;
    }
    assert_eq!(source(&trial), "warm");
    // With that passed, all is as it was.
    assert_eq!(source(&world.run_as(&caller, &function, json!(1)).await), "memo");
}
