int reevez_placeholder(void);
