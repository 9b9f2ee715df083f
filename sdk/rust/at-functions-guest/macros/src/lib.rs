//! `#[at_functions::function]`. It needs no parser of Rust: it looks for the name after `fn`, leaves the function as it is, and
//! has `at_functions` export it.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// Makes a function the one that the service runs: see the documentation of `at_functions`.
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return error("`#[at_functions::function]` takes no arguments");
    }
    match name(item.clone()) {
        Ok(name) => {
            let mut out = item;
            out.extend("::at_functions::__export!".parse::<TokenStream>().expect("this is Rust"));
            let group = proc_macro::Group::new(Delimiter::Brace, TokenStream::from(name));
            out.extend([TokenTree::Group(group)]);
            out
        }
        Err(why) => {
            let mut out = item;
            out.extend(error(why));
            out
        }
    }
}

/// The function's name, if it is a function that can be run.
fn name(item: TokenStream) -> Result<TokenTree, &'static str> {
    const EXPECTED: &str = "`#[at_functions::function]` stands before a function: `fn run(input: Input) -> Result<Output, Error>`";
    let mut tokens = item.into_iter();
    loop {
        match tokens.next().ok_or(EXPECTED)? {
            TokenTree::Ident(word) => match word.to_string().as_str() {
                "async" => return Err("a function is run to its end at once: take away `async`"),
                "fn" => break,
                "struct" | "enum" | "impl" | "mod" | "trait" | "const" | "static" | "use" | "type" => {
                    return Err(EXPECTED);
                }
                _ => {}
            },
            _ => continue,
        }
    }
    let name = tokens.next().ok_or(EXPECTED)?;
    match tokens.next() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
            match arguments(group.stream()) {
                1 => Ok(name),
                _ => Err(
                    "the function takes one argument, its input: `fn run(input: Input) -> Result<Output, Error>`",
                ),
            }
        }
        _ => Err("the types of input and output must be known: take away the generics"),
    }
}

/// How many arguments there are: one more than there are commas with something behind them.
fn arguments(tokens: TokenStream) -> usize {
    let (mut count, mut depth, mut open) = (0, 0_usize, false);
    for token in tokens {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' && depth == 0 => open = false,
            other => {
                if let TokenTree::Punct(punct) = other {
                    match punct.as_char() {
                        '<' => depth += 1,
                        '>' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
                if !open {
                    count += 1;
                    open = true;
                }
            }
        }
    }
    count
}

fn error(why: &str) -> TokenStream {
    format!("::core::compile_error!({why:?});").parse().expect("this is Rust")
}
