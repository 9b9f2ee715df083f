//! Functions on the network: put there, and called by whom.

use at_functions::clock::Clock;
use serde_json::{Value, json};

use crate::world::{ECHO, function_record};

use super::xrpc::Call;
use super::{Account, Service};

/// The method under test.
pub(super) const RUN: &str = "at.functions.run";

/// A function that answers the same JSON value whatever its input: a new version of a function is
/// told from the older one by it.
pub(super) fn constant(json: &str) -> Vec<u8> {
    let data = json.replace('\\', "\\\\").replace('"', "\\\"");
    let text = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "{data}")
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64) i64.const {}))"#,
        json.len()
    );
    wat::parse_str(text).expect("the module is right")
}

impl Account {
    /// Puts a function into the account's repo as any client would, and tells its at-uri and the CID of its record.
    pub(super) async fn publish(
        &self,
        rkey: &str,
        wasm: &[u8],
        edit: impl FnOnce(&mut Value),
    ) -> (String, String) {
        let mut record = function_record(wasm);
        record["code"] = self.upload_blob("application/wasm", wasm).await;
        record["updatedAt"] = format!("{:?}", Clock::system().since_epoch()).into();
        edit(&mut record);
        self.put_record("at.functions.metadata", rkey, &record).await
    }

    /// Puts the echo example.
    pub(super) async fn publish_echo(&self) -> (String, String) {
        self.publish("echo", ECHO, |_| {}).await
    }

    /// Begins a call through the account's PDS.
    pub(super) fn run(&self, service: &Service, function: &str, input: &Value) -> Call {
        let body = json!({ "function": function, "input": input });
        self.procedure(RUN).through(&service.audience()).json(&body)
    }
}

/// Begins a direct call.
pub(super) fn run_directly(service: &Service, token: &str, function: &str, input: &Value) -> Call {
    let body = json!({ "function": function, "input": input });
    service.procedure(RUN).bearer(token).json(&body)
}
