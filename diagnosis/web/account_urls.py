"""Addresses of accounts, below /accounts/; the names are those that Django's own pages and letters ask for."""

from django.urls import path

from diagnosis.web import account_page, accounts

urlpatterns = [
    path("", account_page.account, name="account"),
    path("login/", accounts.LoginView.as_view(), name="login"),
    path("logout/", accounts.LogoutView.as_view(), name="logout"),
    path("sign-up/", accounts.sign_up, name="sign_up"),
    path("password/", accounts.PasswordChange.as_view(), name="password_change"),
    path("password/reset/", accounts.PasswordReset.as_view(), name="password_reset"),
    path("password/reset/<uidb64>/<token>/", accounts.PasswordResetConfirm.as_view(), name="password_reset_confirm"),
    path("tokens/<str:token_key>/revoke", account_page.revoke_token, name="revoke_token"),
    path("email/", account_page.change_email, name="change_email"),
    path("download", account_page.download, name="download_all"),
    path("delete", account_page.delete_all, name="delete_all"),
    path("close/", account_page.close, name="close_account"),
]
