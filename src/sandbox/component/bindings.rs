//! What the WIT files say, as Rust traits and types.
//!
//! Both released runtime packages stand side by side; a component gets the ones that it imports. The
//! world below is the whole of what can be linked; `admission` names the same interfaces, and a test
//! there compares the two lists.
//!
//! Resources that are not named under `with` become types without values: there is no file, socket or
//! terminal that a handle could stand for, and the compiler knows it.

wasmtime::component::bindgen!({
    path: [
        "wit/wasi-0.2.12/io.wit",
        "wit/wasi-0.2.12/clocks.wit",
        "wit/wasi-0.2.12/random.wit",
        "wit/wasi-0.2.12/filesystem.wit",
        "wit/wasi-0.2.12/sockets.wit",
        "wit/wasi-0.2.12/cli.wit",
        "wit/atfunc-runtime-0.1.0",
        "wit/atfunc-runtime-0.2.0",
    ],
    inline: "
        package atfunc:host;

        world offered {
            import atfunc:runtime/atproto@0.1.0;
            import atfunc:runtime/atproto@0.2.0;
            import atfunc:runtime/context@0.2.0;
            import atfunc:runtime/log@0.2.0;
            import wasi:cli/environment@0.2.12;
            import wasi:cli/exit@0.2.12;
            import wasi:cli/stdin@0.2.12;
            import wasi:cli/stdout@0.2.12;
            import wasi:cli/stderr@0.2.12;
            import wasi:cli/terminal-input@0.2.12;
            import wasi:cli/terminal-output@0.2.12;
            import wasi:cli/terminal-stdin@0.2.12;
            import wasi:cli/terminal-stdout@0.2.12;
            import wasi:cli/terminal-stderr@0.2.12;
            import wasi:clocks/monotonic-clock@0.2.12;
            import wasi:clocks/wall-clock@0.2.12;
            import wasi:filesystem/preopens@0.2.12;
            import wasi:filesystem/types@0.2.12;
            import wasi:io/error@0.2.12;
            import wasi:io/poll@0.2.12;
            import wasi:io/streams@0.2.12;
            import wasi:random/insecure@0.2.12;
            import wasi:random/insecure-seed@0.2.12;
            import wasi:random/random@0.2.12;
            import wasi:sockets/instance-network@0.2.12;
            import wasi:sockets/ip-name-lookup@0.2.12;
            import wasi:sockets/network@0.2.12;
            import wasi:sockets/tcp@0.2.12;
            import wasi:sockets/tcp-create-socket@0.2.12;
            import wasi:sockets/udp@0.2.12;
            import wasi:sockets/udp-create-socket@0.2.12;
            export run: func(input-json: string) -> result<string, string>;
        }
    ",
    imports: {
        "atfunc:runtime/atproto@0.1.0": async | trappable,
        "atfunc:runtime/atproto@0.2.0": async | trappable,
        "wasi:io/poll": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "wasi:io/poll.pollable": super::state::Pollable,
        "wasi:io/streams.input-stream": super::state::Nothing,
        "wasi:io/streams.output-stream": super::state::Stream,
        "wasi:sockets/network.network": super::state::Network,
    },
});
