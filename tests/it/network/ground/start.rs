//! Starting the service under test.

use crate::network::{Network, Service};

#[tokio::test]
async fn a_service_that_ends_before_it_is_up_fails_the_start() {
    let Some(network) = Network::shared() else { return };
    let Err(words) = Service::try_start(network, &["--no-such-setting"]).await else { panic!("it started") };
    assert!(words.starts_with("the service ended before it was up (exit status:"), "{words}");
}
