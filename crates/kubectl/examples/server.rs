//! An empty API server in memory, for trying the client by hand: prints its address and runs until stopped.

#[tokio::main]
async fn main() {
    let server = fluyt_apiserver::testing::start().await;
    println!("{}", server.url());
    server.shutdown.cancelled().await;
}
