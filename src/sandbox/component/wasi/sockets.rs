//! `wasi:sockets`: a network on which no socket can be made and no name is known.
//!
//! It is linked although functions have no network, since C libraries for WASI 0.2 name it wherever
//! they close a file.

use wasmtime::component::Resource;

use super::of_nothing;
use crate::sandbox::component::bindings::wasi::io::error::Error;
use crate::sandbox::component::bindings::wasi::sockets::ip_name_lookup::{
    self, HostResolveAddressStream, ResolveAddressStream,
};
use crate::sandbox::component::bindings::wasi::sockets::network::{
    self, ErrorCode, HostNetwork, IpAddress, IpAddressFamily, IpSocketAddress,
};
use crate::sandbox::component::bindings::wasi::sockets::tcp::{
    self, Duration, HostTcpSocket, ShutdownType, TcpSocket,
};
use crate::sandbox::component::bindings::wasi::sockets::udp::{
    self, HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagram,
    IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket,
};
use crate::sandbox::component::bindings::wasi::sockets::{
    instance_network, tcp_create_socket, udp_create_socket,
};
use crate::sandbox::component::state::{Network, Nothing, Pollable, Stream};
use crate::sandbox::guest::Guest;

impl instance_network::Host for Guest {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        self.component.push(Network)
    }
}

impl network::Host for Guest {
    fn network_error_code(&mut self, error: Resource<Error>) -> wasmtime::Result<Option<ErrorCode>> {
        match *self.component.get(&error)? {}
    }
}

impl HostNetwork for Guest {
    fn drop(&mut self, handle: Resource<Network>) -> wasmtime::Result<()> {
        self.component.drop(handle).map(|_| ())
    }
}

impl tcp_create_socket::Host for Guest {
    fn create_tcp_socket(
        &mut self,
        _: IpAddressFamily,
    ) -> wasmtime::Result<Result<Resource<TcpSocket>, ErrorCode>> {
        Ok(Err(ErrorCode::AccessDenied))
    }
}

impl udp_create_socket::Host for Guest {
    fn create_udp_socket(
        &mut self,
        _: IpAddressFamily,
    ) -> wasmtime::Result<Result<Resource<UdpSocket>, ErrorCode>> {
        Ok(Err(ErrorCode::AccessDenied))
    }
}

impl ip_name_lookup::Host for Guest {
    fn resolve_addresses(
        &mut self,
        _: Resource<Network>,
        _: String,
    ) -> wasmtime::Result<Result<Resource<ResolveAddressStream>, ErrorCode>> {
        Ok(Err(ErrorCode::AccessDenied))
    }
}

impl tcp::Host for Guest {}
impl udp::Host for Guest {}

of_nothing! {
    HostResolveAddressStream for ResolveAddressStream {
        fn resolve_next_address() -> Result<Option<IpAddress>, ErrorCode>;
        fn subscribe() -> Resource<Pollable>;
    }

    HostTcpSocket for TcpSocket {
        fn start_bind(Resource<Network>, IpSocketAddress) -> Result<(), ErrorCode>;
        fn finish_bind() -> Result<(), ErrorCode>;
        fn start_connect(Resource<Network>, IpSocketAddress) -> Result<(), ErrorCode>;
        fn finish_connect() -> Result<(Resource<Nothing>, Resource<Stream>), ErrorCode>;
        fn start_listen() -> Result<(), ErrorCode>;
        fn finish_listen() -> Result<(), ErrorCode>;
        fn accept() -> Result<(Resource<TcpSocket>, Resource<Nothing>, Resource<Stream>), ErrorCode>;
        fn local_address() -> Result<IpSocketAddress, ErrorCode>;
        fn remote_address() -> Result<IpSocketAddress, ErrorCode>;
        fn is_listening() -> bool;
        fn address_family() -> IpAddressFamily;
        fn set_listen_backlog_size(u64) -> Result<(), ErrorCode>;
        fn keep_alive_enabled() -> Result<bool, ErrorCode>;
        fn set_keep_alive_enabled(bool) -> Result<(), ErrorCode>;
        fn keep_alive_idle_time() -> Result<Duration, ErrorCode>;
        fn set_keep_alive_idle_time(Duration) -> Result<(), ErrorCode>;
        fn keep_alive_interval() -> Result<Duration, ErrorCode>;
        fn set_keep_alive_interval(Duration) -> Result<(), ErrorCode>;
        fn keep_alive_count() -> Result<u32, ErrorCode>;
        fn set_keep_alive_count(u32) -> Result<(), ErrorCode>;
        fn hop_limit() -> Result<u8, ErrorCode>;
        fn set_hop_limit(u8) -> Result<(), ErrorCode>;
        fn receive_buffer_size() -> Result<u64, ErrorCode>;
        fn set_receive_buffer_size(u64) -> Result<(), ErrorCode>;
        fn send_buffer_size() -> Result<u64, ErrorCode>;
        fn set_send_buffer_size(u64) -> Result<(), ErrorCode>;
        fn subscribe() -> Resource<Pollable>;
        fn shutdown(ShutdownType) -> Result<(), ErrorCode>;
    }

    HostUdpSocket for UdpSocket {
        fn start_bind(Resource<Network>, IpSocketAddress) -> Result<(), ErrorCode>;
        fn finish_bind() -> Result<(), ErrorCode>;
        fn stream(Option<IpSocketAddress>) -> Result<
            (Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>),
            ErrorCode,
        >;
        fn local_address() -> Result<IpSocketAddress, ErrorCode>;
        fn remote_address() -> Result<IpSocketAddress, ErrorCode>;
        fn address_family() -> IpAddressFamily;
        fn unicast_hop_limit() -> Result<u8, ErrorCode>;
        fn set_unicast_hop_limit(u8) -> Result<(), ErrorCode>;
        fn receive_buffer_size() -> Result<u64, ErrorCode>;
        fn set_receive_buffer_size(u64) -> Result<(), ErrorCode>;
        fn send_buffer_size() -> Result<u64, ErrorCode>;
        fn set_send_buffer_size(u64) -> Result<(), ErrorCode>;
        fn subscribe() -> Resource<Pollable>;
    }

    HostIncomingDatagramStream for IncomingDatagramStream {
        fn receive(u64) -> Result<Vec<IncomingDatagram>, ErrorCode>;
        fn subscribe() -> Resource<Pollable>;
    }

    HostOutgoingDatagramStream for OutgoingDatagramStream {
        fn check_send() -> Result<u64, ErrorCode>;
        fn send(Vec<OutgoingDatagram>) -> Result<u64, ErrorCode>;
        fn subscribe() -> Resource<Pollable>;
    }
}
