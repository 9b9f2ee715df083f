//! Descriptions of functions over the real network: through a PDS, and directly.

use serde_json::json;

use super::{Network, Service};

const DESCRIBE: &str = "at.functions.describe";

#[tokio::test]
async fn a_pds_proxies_descriptions_in_its_users_name() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let stranger = network.create_account(network.pds(1)).await;
    let (echo, cid) = author.publish_echo().await;
    let (hidden, _) =
        author.publish("hidden", crate::world::ECHO, |record| record["public"] = false.into()).await;
    let ask = async |account: &super::Account, uri: &str| {
        let call = account.query(DESCRIBE).param("function", uri).through(&service.audience());
        call.send().await
    };
    let told = ask(&stranger, &echo).await.ok();
    assert_eq!((&told["cid"], &told["mayRun"]), (&json!(cid), &json!(true)), "{told}");
    let told = ask(&stranger, &hidden).await.ok();
    assert_eq!(told["refusal"]["error"], "FunctionNotPublic", "{told}");
    assert_eq!(ask(&author, &hidden).await.ok()["mayRun"], true);
    let absent = echo.replace("echo", "absent");
    super::calls::assert_proxied_refusal(&ask(&stranger, &absent).await, 400, "FunctionNotFound");

    let direct =
        async |token: &str| service.query(DESCRIBE).param("function", &hidden).bearer(token).send().await;
    let token = author.service_token(&service.audience(), DESCRIBE).await;
    assert_eq!(direct(&token).await.ok()["mayRun"], true);
    let other = author.service_token(&service.audience(), "at.functions.run").await;
    assert_eq!(direct(&other).await.refusal(), (401, "BadJwtLexiconMethod".into()));
}
