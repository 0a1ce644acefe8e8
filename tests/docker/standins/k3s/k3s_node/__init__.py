"""A k3s node whose API, controllers and kubelet are the emulator's, with containers of its own."""
