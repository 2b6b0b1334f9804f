"""Types that flow between stages: frozen, arrays read-only, checked once at construction, no file paths inside."""
