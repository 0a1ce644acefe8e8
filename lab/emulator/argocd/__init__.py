"""Argo CD: webhook receiver, application controller, and its pages."""
