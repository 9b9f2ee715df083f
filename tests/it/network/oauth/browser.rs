//! A person's browser on the login page of the reference PDS: it does what the page's own JavaScript does, over the same
//! endpoints, with the cookies and headers of a browser.

use std::collections::BTreeMap;
use std::sync::Mutex;

use http::header::{AUTHORIZATION, COOKIE, LOCATION, ORIGIN, REFERER, SET_COOKIE};
use reqwest::{Client, Response, redirect};
use serde_json::{Value, json};
use url::Url;

use super::super::Account;
use super::super::xrpc::text;

/// Where the page's JavaScript asks.
const API: &str = "/@atproto/oauth-provider/~api";

/// A browser in which one login page is open.
pub(super) struct Browser {
    client: Client,
    page: Url,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl Browser {
    /// Opens the page that the terminal shows.
    pub(super) async fn open(page: &str) -> Browser {
        #[expect(clippy::disallowed_methods, reason = "a test is the network's other end, not the service")]
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none());
        let client = client.pool_max_idle_per_host(0).build().expect("a client can be built");
        let page = Url::parse(page).expect("a link");
        let browser = Browser { client, page, cookies: Mutex::default() };
        let opened = browser.navigate(&browser.page, "none").await;
        assert_eq!(opened.status(), 200, "{}", opened.text().await.expect("a body"));
        let html = opened.text().await.expect("a page");
        assert!(html.contains("__authorizeData"), "no login page: {html}");
        browser
    }

    /// Signs in and says yes; the address that the browser is sent to with the answer.
    pub(super) async fn allow(&self, account: &Account) -> Url {
        let sign_in = json!({"locale": "en", "username": account.handle, "password": account.password, "remember": false});
        let signed_in = self.ask("/sign-in", &sign_in, None).await;
        let token = text(&signed_in, "/ephemeralToken");
        let consented = self.ask("/consent", &json!({ "did": account.did }), Some(&token)).await;
        self.follow(&consented).await
    }

    /// Says no.
    pub(super) async fn deny(&self) -> Url {
        self.follow(&self.ask("/reject", &json!({}), None).await).await
    }

    /// Opens an address, and gives status and text of the page that it shows.
    pub(super) async fn visit(&self, address: &Url) -> (u16, String) {
        let shown = self.client.get(address.clone()).send().await.expect("somebody listens there");
        (shown.status().as_u16(), shown.text().await.expect("a page"))
    }

    /// What the page's own server makes of the answer.
    async fn follow(&self, answer: &Value) -> Url {
        let url = Url::parse(&text(answer, "/url")).expect("an address");
        let redirect = self.navigate(&url, "same-origin").await;
        assert_eq!(redirect.status(), 303);
        let location = redirect.headers()[LOCATION].to_str().expect("text");
        Url::parse(location).expect("an address")
    }

    async fn navigate(&self, url: &Url, site: &str) -> Response {
        let mut request = self.client.get(url.clone()).header("sec-fetch-site", site);
        if site == "same-origin" {
            request = request.header(REFERER, self.page.as_str());
        }
        let request = request.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "document");
        self.keep(request.header(COOKIE, self.cookies()).send().await.expect("an answer"))
    }

    async fn ask(&self, endpoint: &str, body: &Value, token: Option<&str>) -> Value {
        let origin = self.page.origin().ascii_serialization();
        let csrf = self.cookie("csrf-token");
        let mut request = self
            .client
            .post(format!("{origin}{API}{endpoint}"))
            .header("sec-fetch-mode", "same-origin")
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-dest", "empty")
            .header("x-csrf-token", csrf)
            .header(ORIGIN, origin)
            .header(REFERER, self.page.as_str())
            .header(COOKIE, self.cookies());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = self.keep(request.json(body).send().await.expect("an answer"));
        let status = answer.status();
        let json: Value = answer.json().await.expect("JSON");
        assert_eq!(status, 200, "{endpoint}: {json}");
        json
    }

    fn keep(&self, answer: Response) -> Response {
        let mut cookies = self.cookies.lock().expect("nobody panicked");
        for set in answer.headers().get_all(SET_COOKIE) {
            let cookie = set.to_str().expect("text").split(';').next().unwrap_or_default();
            let (name, value) = cookie.split_once('=').expect("a cookie");
            cookies.insert(name.to_owned(), value.to_owned());
        }
        drop(cookies);
        answer
    }

    fn cookies(&self) -> String {
        let cookies = self.cookies.lock().expect("nobody panicked");
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn cookie(&self, name: &str) -> String {
        self.cookies.lock().expect("nobody panicked").get(name).cloned().expect("the cookie was set")
    }
}
