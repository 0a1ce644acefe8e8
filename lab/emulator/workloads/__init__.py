"""What makes Kubernetes objects real: controllers, the kubelet that runs pods as processes, services, ingress."""
