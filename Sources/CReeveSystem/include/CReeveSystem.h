int reeve_placeholder(void);
