"""Fields that users register: their outlines over time, and what is kept so that they are answered fast."""
